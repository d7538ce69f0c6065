import { statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { makeDirectory } from "../fs/atomic-file.js";
import { ifThere } from "../fs/if-there.js";

/** Milliseconds from one look of the timer to the next: keystores are asked for all that they have. */
const PAUSE = 3_600_000;

/** Whether the last look, which the file's time tells, was long enough ago; also after the clock was put back. */
export function isTimeToLook(stamp: string): boolean {
  // the file system knows parts of a millisecond, and the clock does not: just now is not in the future
  const last = ifThere(() => Math.floor(statSync(stamp).mtimeMs));
  const age = Date.now() - (last ?? 0);
  return age >= PAUSE || age < 0;
}

/** Where a look cannot be noted, the next one comes sooner. */
export function noteLook(stamp: string): void {
  ifThere(() => {
    makeDirectory(dirname(stamp), 0o700);
    writeFileSync(stamp, "", { mode: 0o600 });
  });
}
