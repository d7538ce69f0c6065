import { readFileSync } from "node:fs";
import { writersOf } from "../../storage/block/device-users.js";
import type { VolumeFile } from "../../storage/volume-file.js";

/** Where QEMU locks a file of which it may write the content: its base, and the bit of BLK_PERM_WRITE. */
const QEMU_WRITES = 100n + 1n;

/**
 * Who can write to the volume now, in words; undefined for nobody. The kernel gives a volume to a mapping although a
 * QEMU has it open: neither heeds the other's locks, and two guests would write to it. Programs of other hosts are not
 * seen, nor of a file's writers others than QEMU.
 */
export function writerOf(file: Pick<VolumeFile, "stats" | "fd">): string | undefined {
  const { stats } = file;
  if (stats.isBlockDevice()) {
    const [user] = writersOf(stats.rdev);
    return user && `process ${user.pid} (${user.command}) has it open for writing`;
  }
  const lines = readFileSync("/proc/locks", "utf8").split("\n");
  const suspects = lines.filter((line) => locksForWriting(line, stats));
  if (suspects.length === 0) return undefined;
  const own = fileSystemOf(file);
  const isLocked = own === undefined || suspects.some((line) => LOCK.exec(line)?.[1] === own);
  return isLocked ? "a QEMU process has it open for writing" : undefined;
}

/** proc_locks(5): `1: OFDLCK ADVISORY READ -1 fe:01:1234 101 101`, the file system in hexadecimal. */
const LOCK = /^\d+: OFDLCK .* ([0-9a-f]+:[0-9a-f]+):(\d+) (\d+) (\d+|EOF)$/;

function locksForWriting(line: string, { ino }: VolumeFile["stats"]): boolean {
  const [, , inode, start, end] = LOCK.exec(line) ?? [];
  if (inode === undefined || start === undefined || BigInt(inode) !== ino) return false;
  return BigInt(start) <= QEMU_WRITES && (end === "EOF" || BigInt(end ?? 0) >= QEMU_WRITES);
}

/**
 * The file system as /proc/locks names it, which is by its mount's number: stat(2) tells another one on btrfs, a number
 * for each subvolume. Undefined where that mount is not to be seen.
 */
function fileSystemOf({ fd }: Pick<VolumeFile, "fd">): string | undefined {
  const mount = /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1];
  const mounts = readFileSync("/proc/self/mountinfo", "utf8");
  const numbers = new RegExp(`^${mount} \\d+ (\\d+):(\\d+) `, "m").exec(mounts)?.slice(1);
  return numbers?.map((number) => Number(number).toString(16).padStart(2, "0")).join(":");
}
