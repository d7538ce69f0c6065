import { fstatSync, fsyncSync, writeSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { errnoOf, LuksmithError } from "../error/luksmith-error.js";
import { systemErrorOf } from "../fs/system-error.js";

/** Milliseconds until a pipe or terminal whose reader is slow is asked again. */
const PAUSE = 10;

/**
 * Writes all of `bytes` to standard output, or throws: for what must not count unless it has arrived. The stream
 * `process.stdout` would hide a short write. When this returns, a file has it on stable storage; a pipe has taken it.
 * @throws OUTPUT_UNWRITABLE
 */
export async function writeStandardOutput(bytes: Uint8Array, fd: number = process.stdout.fd): Promise<void> {
  try {
    await writeAll(fd, bytes);
    if (fstatSync(fd).isFile()) fsyncSync(fd);
  } catch (thrown) {
    const failure = systemErrorOf(thrown);
    if (failure === undefined) throw thrown;
    throw new LuksmithError("OUTPUT_UNWRITABLE", { what: "cannot write standard output", why: failure.text });
  }
}

async function writeAll(fd: number, bytes: Uint8Array): Promise<void> {
  let written = 0;
  while (written < bytes.length) {
    try {
      written += writeSync(fd, bytes, written);
    } catch (thrown) {
      // a pipe or terminal may be non-blocking, by Node or by whoever shares it
      if (errnoOf(thrown) !== "EAGAIN") throw thrown;
      await setTimeout(PAUSE);
    }
  }
}
