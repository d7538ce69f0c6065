import { closeSync, constants, fstatSync, lstatSync, openSync, readSync, type Stats } from "node:fs";
import { errnoOf, LuksmithError } from "../error/luksmith-error.js";
import { shellWord } from "../error/shell-word.js";

/** Who may touch a file: `mode` is what it ought to have, no bit of `forbidden` may be set; the owner is root. */
export interface Guard {
  readonly kind: "file" | "directory";
  readonly mode: number;
  readonly forbidden: number;
}

export const PRIVATE_FILE: Guard = { kind: "file", mode: 0o600, forbidden: 0o077 };
export const PRIVATE_DIRECTORY: Guard = { kind: "directory", mode: 0o700, forbidden: 0o077 };
/** Everybody may read it, root alone may write it. */
export const PUBLIC_FILE: Guard = { kind: "file", mode: 0o644, forbidden: 0o022 };

/** O_NONBLOCK: opening a pipe that somebody put there must not wait for a writer. */
const FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * The bytes of the file at `path`, or undefined if there is none. What is longer than `limit` bytes is cut off
 * after the limit, so that a parser refuses it. Follows no symbolic link in the last component.
 * @throws PERMISSIONS_UNSAFE with the command that mends it; Node's system errors for everything else
 */
export function readGuardedFile(path: string, guard: Guard, limit: number): Buffer | undefined {
  const fd = openIfThere(path);
  if (fd === undefined) return undefined;
  try {
    const stats = fstatSync(fd);
    checkGuard(path, stats, guard);
    return readUpTo(fd, limit, stats.size);
  } finally {
    closeSync(fd);
  }
}

/** What lstat says about `path`, or undefined if there is nothing. @throws PERMISSIONS_UNSAFE, system errors */
export function statGuarded(path: string, guard: Guard): Stats | undefined {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats !== undefined) checkGuard(path, stats, guard);
  return stats;
}

/**
 * Reads to the end, whatever `size` said: on a file system of a cluster that is what was true a second ago, and half
 * a file would look damaged.
 */
function readUpTo(fd: number, limit: number, size: number): Buffer {
  let bytes = Buffer.alloc(Math.min(size + 1, limit));
  for (let length = 0; ;) {
    const read = readSync(fd, bytes, length, bytes.length - length, null);
    length += read;
    if (read === 0 || length === limit) return bytes.subarray(0, length);
    if (length === bytes.length) {
      const larger = Buffer.alloc(Math.min(length * 2, limit));
      bytes.copy(larger);
      // it may be a key
      bytes.fill(0);
      bytes = larger;
    }
  }
}

function openIfThere(path: string): number | undefined {
  try {
    return openSync(path, FLAGS);
  } catch (thrown) {
    if (errnoOf(thrown) === "ENOENT") return undefined;
    if (errnoOf(thrown) === "ELOOP") throw wrongKind(path, "file");
    throw thrown;
  }
}

function checkGuard(path: string, stats: Stats, { kind, mode, forbidden }: Guard): void {
  if (!(kind === "file" ? stats.isFile() : stats.isDirectory())) throw wrongKind(path, kind);
  const commands: string[] = [];
  if (stats.uid !== 0) commands.push(`chown root:root ${shellWord(path)}`);
  if ((stats.mode & forbidden) !== 0) commands.push(`chmod ${octal(mode)} ${shellWord(path)}`);
  if (commands.length === 0) return;
  throw new LuksmithError("PERMISSIONS_UNSAFE", {
    what: `${path} can be changed or read by others than root`,
    why: `it belongs to user ${stats.uid} and has mode ${octal(stats.mode & 0o7777)}`,
    hint: commands.join(" && "),
  });
}

function wrongKind(path: string, kind: Guard["kind"]): LuksmithError {
  return new LuksmithError("PERMISSIONS_UNSAFE", {
    what: `${path} is not a ${kind}`,
    why: `luksmith follows no symbolic link here and opens nothing but a ${kind}`,
    hint: `look at what it is: ls -ld ${shellWord(path)}`,
  });
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, "0");
}
