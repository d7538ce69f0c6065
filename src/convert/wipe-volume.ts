import { randomFillSync } from "node:crypto";
import type { CommandRunner } from "../exec/command-runner.js";
import { allocationMap, type Extent } from "../storage/allocation-map.js";
import type { PathVolume } from "../storage/volume.js";
import { VolumeFile } from "../storage/volume-file.js";
import type { Percent } from "./volume-copier.js";

const CHUNK = 4 * 1024 * 1024;
const TIMEOUT = 600_000;

/**
 * Overwrites what a volume has with random bytes, once, and tells a device afterwards that it needs none of them. What
 * the storage keeps elsewhere is not reached: an SSD's spare blocks, copies of a file system that never writes in place,
 * snapshots, backups. Memory does not grow with the volume. @throws VOLUME_BUSY, VOLUME_WRITE_FAILED
 */
export async function wipeVolume(
  { kind, path }: PathVolume,
  runner: CommandRunner,
  progress: Percent,
): Promise<void> {
  const isDevice = kind === "block";
  await using file = await VolumeFile.open(path, "read-write", isDevice ? "block device" : "regular file");
  await using claim = isDevice ? await file.claim() : undefined;
  const extents = isDevice ? [{ offset: 0, length: file.size }] : await writtenParts(file, runner);
  await overwrite(file, extents, progress);
  await file.sync();
  if (claim === undefined) return;
  // what it answers does not matter: not every device can
  await runner
    .run({ tool: "blkdiscard", args: ["--", "/proc/self/fd/3"], fds: [file.fd], timeout: TIMEOUT })
    .catch(() => undefined);
}

/** Holes hold nothing; the map is that of the storage once all is written there. */
async function writtenParts(file: VolumeFile, runner: CommandRunner): Promise<readonly Extent[]> {
  await file.sync();
  const found = await allocationMap(runner, file, { format: "raw", size: file.size });
  return found === "compressed" ? [{ offset: 0, length: file.size }] : found;
}

async function overwrite(file: VolumeFile, extents: readonly Extent[], progress: Percent): Promise<void> {
  const total = extents.reduce((sum, { length }) => sum + length, 0);
  const noise = Buffer.alloc(CHUNK);
  let [written, percent] = [0, 0];
  for (const { offset, length } of extents) {
    // a file's map counts whole sectors, of which the last may be cut off
    const end = Math.min(offset + length, file.size);
    for (let at = offset; at < end; at += CHUNK) {
      const piece = noise.subarray(0, Math.min(CHUNK, end - at));
      await file.write(at, randomFillSync(piece));
      written += piece.length;
      const now = Math.floor((written * 100) / total);
      if (now > percent) progress((percent = now));
    }
  }
}
