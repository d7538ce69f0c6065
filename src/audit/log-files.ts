import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { errnoOf, LuksmithError } from "../error/luksmith-error.js";
import { systemErrorOf } from "../fs/system-error.js";
import { parseEntry } from "./entry.js";
import type { LogFile } from "./verify.js";

/** Bytes of a file that was compressed, at most. */
const LIMIT = 1024 * 1024 * 1024;

/** The log with the files that it was rotated to, the oldest first. @throws AUDIT_BROKEN if one cannot be read */
export function logWithRotated(file: string): LogFile[] {
  const directory = dirname(file);
  const rotated = namesIn(directory).filter(
    (name) => name.startsWith(`${basename(file)}.`) && !name.endsWith(".head"),
  );
  const paths = [...rotated.map((name) => join(directory, name)), file];
  return readLogs(paths, "passed over")
    .map((log) => ({ log, first: firstNumber(log) }))
    .sort((a, b) => a.first - b.first)
    .map(({ log }) => log);
}

/** @param absent what becomes of one that is not there. @throws AUDIT_BROKEN */
export function readLogs(paths: readonly string[], absent: "passed over" | "refused"): LogFile[] {
  return paths.flatMap((path) => {
    try {
      const bytes = readFileSync(path);
      return [{ path, bytes: path.endsWith(".gz") ? gunzipSync(bytes, { maxOutputLength: LIMIT }) : bytes }];
    } catch (thrown) {
      if (absent === "passed over" && errnoOf(thrown) === "ENOENT") return [];
      const why = systemErrorOf(thrown)?.text ?? "it is not what gzip has written";
      throw new LuksmithError("AUDIT_BROKEN", {
        what: `cannot read the audit log ${path}`,
        why,
        cause: thrown,
      });
    }
  });
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** Of a file without an entry it is none: it comes last, and is found out there. */
function firstNumber({ bytes }: LogFile): number {
  const end = bytes.indexOf("\n");
  const entry = parseEntry(bytes.toString("utf8", 0, end === -1 ? bytes.length : end));
  return entry?.seq ?? Number.MAX_SAFE_INTEGER;
}
