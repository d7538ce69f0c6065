import { fstatSync, fsyncSync } from "node:fs";
import { LuksmithError } from "../error/luksmith-error.js";
import { systemErrorOf } from "../fs/system-error.js";
import { writeAll } from "../fs/write-all.js";

/**
 * Writes all of `bytes` to standard output, or throws: for what must not count unless it has arrived. The stream
 * `process.stdout` would hide a short write. When this returns, a file has it on stable storage; a pipe has taken it.
 * @throws OUTPUT_UNWRITABLE
 */
export function writeStandardOutput(bytes: Uint8Array, fd: number = process.stdout.fd): void {
  try {
    writeAll(fd, bytes);
    if (fstatSync(fd).isFile()) fsyncSync(fd);
  } catch (thrown) {
    const failure = systemErrorOf(thrown);
    if (failure === undefined) throw thrown;
    throw new LuksmithError("OUTPUT_UNWRITABLE", { what: "cannot write standard output", why: failure.text });
  }
}
