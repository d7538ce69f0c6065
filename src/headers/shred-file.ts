import { closeSync, constants, fstatSync, fsyncSync, openSync, unlinkSync, writeSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { errnoOf } from "../error/luksmith-error.js";

const CHUNK = 1024 * 1024;

/**
 * Overwrites a file, then removes it; idempotent, and what is no regular file is removed only. Where the file system
 * writes elsewhere than a file's bytes are (ZFS, Btrfs, snapshots, flash), old bytes may remain.
 * Throws Node's system errors.
 */
export function shredFile(path: string): void {
  try {
    overwrite(path);
    unlinkSync(path);
  } catch (thrown) {
    if (errnoOf(thrown) !== "ENOENT") throw thrown;
  }
}

function overwrite(path: string): void {
  const fd = openIfFile(path);
  if (fd === undefined) return;
  try {
    const stats = fstatSync(fd);
    // under another name the bytes may be somebody's
    if (!stats.isFile() || stats.nlink > 1) return;
    for (let at = 0; at < stats.size;)
      at += writeSync(fd, randomBytes(Math.min(CHUNK, stats.size - at)), 0, undefined, at);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Undefined for a symbolic link, which is never followed, and for what has no writer's end. */
function openIfFile(path: string): number | undefined {
  try {
    return openSync(path, constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (thrown) {
    if (["ELOOP", "ENXIO", "EISDIR"].includes(errnoOf(thrown) ?? "")) return undefined;
    throw thrown;
  }
}
