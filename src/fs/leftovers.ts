import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readFileSync, unlinkSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { errnoOf } from "../error/luksmith-error.js";
import { isClaim, takeOver } from "./claim.js";

const TEMPORARY =
  /^\..+\.(?<pid>[0-9]{1,10})\.(?:(?<host>[0-9a-f]{8})-)?(?:(?<boot>[0-9a-f]{8})-)?[0-9a-f]{16}\.tmp$/;
/** Milliseconds after which no write can still be under way, whoever has the process id by now. */
const ABANDONED_AFTER = 3_600_000;

/** What a file is called while `name` is being written; `random` is 16 hexadecimal digits. */
export function temporaryName(name: string, random: string): string {
  return `.${name}.${process.pid}.${thisHost()}-${thisBoot()}-${random}.tmp`;
}

/**
 * Removes what killed writes left in `directory`: temporary files whose process is gone, or that are an hour old, and
 * claims of that age. Never another file. Processes of another host, which writes to the same directory, cannot be
 * seen, so its files wait for the hour. A process of another PID namespace looks gone: then its write fails, and loses
 * nothing.
 */
export function removeLeftovers(directory: string): void {
  for (const name of readdirSync(directory)) {
    const path = join(directory, name);
    try {
      if (isClaim(name) && isOld(path)) takeOver(path);
      const temporary = TEMPORARY.exec(name)?.groups;
      if (temporary !== undefined && (isOfNobody(temporary) || isOld(path))) unlinkSync(path);
    } catch (thrown) {
      // its owner finished meanwhile, or the directory cannot be written: the write that follows says so
      if (errnoOf(thrown) === undefined) throw thrown;
    }
  }
}

/** Files without a host were written by earlier versions, which knew of one host only. */
function isOfNobody({ pid, host = thisHost(), boot = thisBoot() }: Partial<Record<string, string>>): boolean {
  return host === thisHost() && (boot !== thisBoot() || !isRunning(Number(pid)));
}

function isOld(path: string): boolean {
  return Date.now() - lstatSync(path).mtimeMs > ABANDONED_AFTER;
}

/** Nodes of a cluster have different names. */
function thisHost(): string {
  return shortHash(hostname());
}

/** After a power cut, somebody else soon has the process id. */
function thisBoot(): string {
  return shortHash(readFileSync("/proc/sys/kernel/random/boot_id", "latin1"));
}

function shortHash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 8);
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (thrown) {
    return errnoOf(thrown) !== "ESRCH";
  }
}
