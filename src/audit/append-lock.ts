import { closeSync, openSync, readFileSync, readlinkSync, symlinkSync, unlinkSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout } from "node:timers/promises";
import { errnoOf } from "../error/luksmith-error.js";
import type { CommandRunner } from "../exec/command-runner.js";
import { makeDirectory } from "../fs/atomic-file.js";
import { lockDescriptor } from "../fs/file-lock.js";
import { ifThere } from "../fs/if-there.js";

/** Milliseconds. */
const PATIENCE = 2000;
const PAUSE = 2;

/**
 * Does `work` while no other process does: it must not wait, so that nobody waits long. A symbolic link that names its
 * owner is the lock, since a flock(2) needs a process, which takes longer than all the rest. What a killed owner has
 * left is removed under a flock: of two that find it, one removes it, and never what the other has made meanwhile.
 * @param path of the link, in a directory that does not survive a reboot
 * @returns what `work` returns, or "busy"
 */
export async function withAppendLock<T>(
  path: string,
  runner: CommandRunner,
  work: () => T,
): Promise<T | "busy"> {
  makeDirectory(dirname(path), 0o700);
  const late = performance.now() + PATIENCE;
  while (!taken(path)) {
    if (performance.now() > late) return "busy";
    if (!ownerLives(path)) await removeLeft(path, runner);
    else await setTimeout(PAUSE);
  }
  try {
    return work();
  } finally {
    unlinkSync(path);
  }
}

function taken(path: string): boolean {
  try {
    symlinkSync(`${process.pid}.${startOf(process.pid) ?? ""}`, path);
    return true;
  } catch (thrown) {
    if (errnoOf(thrown) === "EEXIST") return false;
    throw thrown;
  }
}

/** Whether the process that made the link runs, or there is no link. */
function ownerLives(path: string): boolean {
  const owner = ifThere(() => readlinkSync(path));
  if (owner === undefined) return true;
  const [pid, start] = owner.split(".");
  return startOf(Number(pid)) === start;
}

async function removeLeft(path: string, runner: CommandRunner): Promise<void> {
  const fd = openSync(`${path}.left`, "a", 0o600);
  try {
    const lock = await lockDescriptor(fd, { runner, patience: PATIENCE / 1000 });
    if (lock === "locked" && !ownerLives(path)) unlinkSync(path);
  } finally {
    closeSync(fd);
  }
}

/** When a process was started, in ticks since the boot: a later one with its number started later. */
function startOf(pid: number): string | undefined {
  const stat = ifThere(() => readFileSync(`/proc/${pid}/stat`, "latin1"));
  // the name in parentheses may have spaces and parentheses
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
}
