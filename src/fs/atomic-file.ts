import { randomBytes } from "node:crypto";
import {
  closeSync,
  fchmodSync,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  renameSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { errnoOf } from "../error/luksmith-error.js";
import { nameOnce } from "./claim.js";
import { temporaryName } from "./leftovers.js";

/** What link(2) says where there are no hard links: FUSE by its kernel's age, of which pmxcfs is one. */
const WITHOUT_LINKS = ["EPERM", "ENOSYS", "EOPNOTSUPP"];

/**
 * Files that are there whole or not at all, whatever happens meanwhile: kill -9, a power cut, a full disk. Bytes go
 * to a temporary file in the same directory, which gets its name when they are on stable storage. Everything here
 * throws Node's system errors; when it throws, the directory is as it was.
 */

/**
 * Creates `path`, unless the name is taken: of two that do so at once one wins, also on two nodes of a cluster's file
 * system. On stable storage when it returns.
 * @param unsynced what becomes of a file whose name a power cut could take back, when this throws for that reason:
 * "keep" where another process may have gone on with it already
 */
export function createFile(
  path: string,
  bytes: Uint8Array,
  mode: number,
  unsynced: "remove" | "keep" = "remove",
): "created" | "exists" {
  if (nameTaken(path, bytes, mode)) return "exists";
  try {
    syncDirectory(dirname(path));
  } catch (thrown) {
    if (unsynced === "remove") tryUnlink(path);
    throw thrown;
  }
  return "created";
}

/** Whether another has the name; else it is this file's now. */
function nameTaken(path: string, bytes: Uint8Array, mode: number): boolean {
  for (;;) {
    const temporary = writeTemporary(path, bytes, mode);
    try {
      // unlike rename(2), link(2) never replaces: of two that create at once, one wins
      linkSync(temporary, path);
      return false;
    } catch (thrown) {
      if (errnoOf(thrown) === "EEXIST") return true;
      if (!WITHOUT_LINKS.includes(errnoOf(thrown) ?? "")) throw thrown;
      const outcome = nameOnce(temporary, path);
      if (outcome !== "lost") return outcome === "exists";
    } finally {
      tryUnlink(temporary);
    }
  }
}

/**
 * Replaces `path`, or creates it. On stable storage when it returns; the old bytes hold until then.
 * @param check looks at `path` once more right before, and throws to leave it as it is
 */
export function replaceFile(path: string, bytes: Uint8Array, mode: number, check?: () => void): void {
  const temporary = writeTemporary(path, bytes, mode);
  try {
    check?.();
    renameSync(temporary, path);
  } catch (thrown) {
    tryUnlink(temporary);
    throw thrown;
  }
  syncDirectory(dirname(path));
}

/** Removes `path` for good; idempotent. */
export function removeFile(path: string): void {
  try {
    unlinkSync(path);
  } catch (thrown) {
    // gone already, or never there: what the caller wants
    if (errnoOf(thrown) === "ENOENT") return;
    throw thrown;
  }
  syncDirectory(dirname(path));
}

/** Creates the directory and the parents it lacks, all with `mode`; idempotent, leaves what exists as it is. */
export function makeDirectory(path: string, mode: number): void {
  const target = resolve(path);
  // one by one: Node's own `recursive` never ends where a parent exists and mkdir says ENOENT, as /proc does
  for (const directory of missingFrom(target)) {
    try {
      mkdirSync(directory, { mode });
    } catch (thrown) {
      if (errnoOf(thrown) !== "EEXIST" || !statSync(directory).isDirectory()) throw thrown;
    }
    // each new directory is an entry in its parent, which must survive a power cut as well
    syncDirectory(dirname(directory));
  }
}

/** What has to be made, the outermost first; `target` itself where something else has its name. */
function missingFrom(target: string): string[] {
  const missing: string[] = [];
  for (let directory = target; !isDirectory(directory); directory = dirname(directory))
    missing.unshift(directory);
  return missing;
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch (thrown) {
    if (errnoOf(thrown) === "ENOENT" || errnoOf(thrown) === "ENOTDIR") return false;
    throw thrown;
  }
}

/** Brings the names in `directory` to stable storage, whoever gave them. */
export function syncDirectory(directory: string): void {
  const fd = openSync(directory, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function writeTemporary(path: string, bytes: Uint8Array, mode: number): string {
  const temporary = join(dirname(path), temporaryName(basename(path), randomBytes(8).toString("hex")));
  // never readable by others, not even before fchmod; "wx" refuses whatever is there
  const fd = openSync(temporary, "wx", 0o600);
  try {
    writeFileSync(fd, bytes);
    setMode(fd, mode);
    fsyncSync(fd);
  } catch (thrown) {
    tryUnlink(temporary);
    throw thrown;
  } finally {
    closeSync(fd);
  }
  return temporary;
}

/** Where modes are fixed, as on pmxcfs, one that grants nothing beyond `mode` will do. */
function setMode(fd: number, mode: number): void {
  try {
    fchmodSync(fd, mode);
  } catch (thrown) {
    if (errnoOf(thrown) !== "EPERM" || (fstatSync(fd).mode & 0o7777 & ~mode) !== 0) throw thrown;
  }
}

/** For the way out of a failure, whose error must not be replaced by this one's; leftovers.ts cleans up later. */
function tryUnlink(path: string): void {
  try {
    unlinkSync(path);
  } catch (thrown) {
    if (errnoOf(thrown) === undefined) throw thrown;
  }
}
