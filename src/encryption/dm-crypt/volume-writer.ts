import { readFileSync } from "node:fs";
import { writersOf } from "../../storage/block/device-users.js";
import type { VolumeFile } from "../../storage/volume-file.js";

/** Where QEMU locks a file of which it may write the content: its base, and the bit of BLK_PERM_WRITE. */
const QEMU_WRITES = 100n + 1n;

/**
 * Who can write to the volume now, in words; undefined for nobody. The kernel gives a volume to a mapping although a
 * QEMU has it open: neither heeds the other's locks, and two guests would write to it. Programs of other hosts are not
 * seen.
 */
export function writerOf({ stats }: Pick<VolumeFile, "stats">): string | undefined {
  if (stats.isBlockDevice()) {
    const [user] = writersOf(stats.rdev);
    return user && `process ${user.pid} (${user.command}) has it open for writing`;
  }
  const isLocked = readFileSync("/proc/locks", "utf8")
    .split("\n")
    .some((line) => locksForWriting(line, stats));
  return isLocked ? "a QEMU process has it open for writing" : undefined;
}

/** proc_locks(5): `1: OFDLCK ADVISORY READ -1 fe:01:1234 101 101`, the device in hexadecimal. */
function locksForWriting(line: string, { dev, ino }: VolumeFile["stats"]): boolean {
  const [, major, minor, inode, start, end] =
    /^\d+: OFDLCK .* ([0-9a-f]+):([0-9a-f]+):(\d+) (\d+) (\d+|EOF)$/.exec(line) ?? [];
  if (inode === undefined || start === undefined || BigInt(inode) !== ino) return false;
  if (deviceOf(Number.parseInt(major ?? "", 16), Number.parseInt(minor ?? "", 16)) !== dev) return false;
  return BigInt(start) <= QEMU_WRITES && (end === "EOF" || BigInt(end ?? 0) >= QEMU_WRITES);
}

/** makedev(3), as stat(2) packs it. */
function deviceOf(major: number, minor: number): bigint {
  const [high, low] = [BigInt(major), BigInt(minor)];
  return (
    ((high & 0xfffff000n) << 32n) | ((high & 0xfffn) << 8n) | ((low & 0xffffff00n) << 12n) | (low & 0xffn)
  );
}
