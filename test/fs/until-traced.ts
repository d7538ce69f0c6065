import { readSync, writeSync } from "node:fs";

/** For a driver that `trace` runs: waits until strace is attached. */
export function untilTraced(): void {
  writeSync(1, "ready\n");
  readSync(0, Buffer.alloc(1));
}
