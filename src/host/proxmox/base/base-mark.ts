import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createFile } from "../../../fs/atomic-file.js";
import { ifThere } from "../../../fs/if-there.js";
import { systemErrorOf } from "../../../fs/system-error.js";

const NAME = ".luksmith-base";
const MARK = /^[0-9a-f]{32}$/;

/**
 * The ID of a directory base, which lies in a file of it: the same path leads to something else where a file system is
 * not mounted, or on another node. Undefined where there is none. Listing, making and removing volumes need none.
 */
export function baseMark(directory: string): string | undefined {
  const mark = ifThere(() => readFileSync(join(directory, NAME), "latin1"))?.trimEnd();
  return mark !== undefined && MARK.test(mark) ? mark : undefined;
}

/** Gives a directory its ID, if it has none. @returns the ID; undefined where it cannot be written */
export function markBase(directory: string): string | undefined {
  const known = baseMark(directory);
  if (known !== undefined) return known;
  try {
    // of several at once, here or on another host, one gives the ID
    createFile(join(directory, NAME), Buffer.from(`${randomBytes(16).toString("hex")}\n`), 0o600);
  } catch (thrown) {
    if (systemErrorOf(thrown) === undefined) throw thrown;
  }
  return baseMark(directory);
}
