import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { errnoOf, LuksmithError } from "../error/luksmith-error.js";
import { syncDirectory } from "../fs/atomic-file.js";
import { systemErrorOf } from "../fs/system-error.js";
import { shredFile } from "../headers/shred-file.js";
import type { KeyUuid } from "../keystore/key-uuid.js";

/** All that a directory has under the key's name: files of it, and those that a kill has left unfinished. */
export function filesOfKey(directory: string, key: KeyUuid): string[] {
  try {
    const names = readdirSync(directory).filter(
      (name) => name.startsWith(`${key}.`) || name.startsWith(`.${key}.`),
    );
    return names.map((name) => join(directory, name));
  } catch (thrown) {
    if (errnoOf(thrown) === "ENOENT") return [];
    throw thrown;
  }
}

/** Overwrites and removes them, for good when it returns. @throws NOT_PERMITTED */
export function destroyFilesOfKey(directory: string, key: KeyUuid): void {
  try {
    for (const path of filesOfKey(directory, key)) shredFile(path);
    if (existsSync(directory)) syncDirectory(directory);
  } catch (thrown) {
    const failure = systemErrorOf(thrown);
    if (failure === undefined) throw thrown;
    throw new LuksmithError("NOT_PERMITTED", {
      what: `cannot destroy what ${directory} has of key ${key}`,
      why: failure.text,
      hint: "make it writable, and call luksmith shred again; the key is kept until then",
    });
  }
}
