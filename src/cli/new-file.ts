import { LuksmithError } from "../error/luksmith-error.js";
import { createFile } from "../fs/atomic-file.js";
import { PRIVATE_FILE } from "../fs/guarded-file.js";
import { systemErrorOf } from "../fs/system-error.js";
import { requireFree } from "../recovery/copy-out.js";

/** A new file for root alone. @throws OUTPUT_EXISTS, OUTPUT_UNWRITABLE */
export function createNew(path: string, bytes: Uint8Array): void {
  try {
    if (createFile(path, bytes, PRIVATE_FILE.mode) === "created") return;
  } catch (thrown) {
    const failure = systemErrorOf(thrown);
    if (failure === undefined) throw thrown;
    throw new LuksmithError("OUTPUT_UNWRITABLE", { what: `cannot write ${path}`, why: failure.text });
  }
  requireFree(path);
}
