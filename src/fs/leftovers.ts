import { lstatSync, readdirSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { errnoOf } from "../error/luksmith-error.js";

const TEMPORARY = /^\..+\.(?<pid>[0-9]{1,10})\.[0-9a-f]{16}\.tmp$/;
/** Milliseconds after which no write can still be under way, whoever has the process id by now. */
const ABANDONED_AFTER = 3_600_000;

/** What a file is called while `name` is being written; `random` is 16 hexadecimal digits. */
export function temporaryName(name: string, random: string): string {
  return `.${name}.${process.pid}.${random}.tmp`;
}

/**
 * Removes the temporary files that killed writes left in `directory`: those whose process is gone, or that are an
 * hour old. Never another file. A process of another PID namespace looks gone: then its write fails, and loses nothing.
 */
export function removeLeftovers(directory: string): void {
  for (const name of readdirSync(directory)) {
    const pid = TEMPORARY.exec(name)?.groups?.["pid"];
    if (pid === undefined) continue;
    const path = join(directory, name);
    try {
      if (!isRunning(Number(pid)) || Date.now() - lstatSync(path).mtimeMs > ABANDONED_AFTER) unlinkSync(path);
    } catch (thrown) {
      // its owner finished meanwhile, or the directory cannot be written: the write that follows says so
      if (errnoOf(thrown) === undefined) throw thrown;
    }
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (thrown) {
    return errnoOf(thrown) !== "ESRCH";
  }
}
