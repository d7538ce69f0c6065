import { writeSync } from "node:fs";
import { errnoOf } from "../error/luksmith-error.js";

/** Milliseconds until a pipe or terminal that takes nothing is tried again. */
const PAUSE = 5;

/**
 * Writes all of it before it returns, however slowly it is read: a pipe takes no more than its reader has left room
 * for, and a full disk may take a part.
 */
export function writeAll(fd: number, content: string | Uint8Array): void {
  const bytes = typeof content === "string" ? Buffer.from(content) : content;
  let written = 0;
  while (written < bytes.length) {
    try {
      written += writeSync(fd, bytes, written);
    } catch (thrown) {
      // a pipe or terminal may be non-blocking, by Node or by whoever shares it
      if (errnoOf(thrown) !== "EAGAIN") throw thrown;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE);
    }
  }
}
