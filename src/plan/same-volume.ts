import { stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import type { DiskMapping } from "../disk-info/disk-info.js";
import { type Volume, volumeName } from "../storage/volume.js";

/** What a disk is made of, however the configuration calls it. */
type DiskVolume = Pick<DiskMapping, "volume" | "mapping">;

/** Whether two disks have the same bytes: a mapping is compared by its name, any other volume by what its path leads to. */
export async function isSameVolume(a: DiskVolume, b: DiskVolume): Promise<boolean> {
  const [name, other] = [mappingOf(a), mappingOf(b)];
  if (name !== undefined && name === other) return true;
  const [identity, another] = await Promise.all([identityOf(a.volume), identityOf(b.volume)]);
  return identity !== undefined && identity === another;
}

/** The name in /dev/mapper of what a disk is given, be it a mapping of ours or another one. */
export function mappingOf({ mapping, volume }: DiskVolume): string | undefined {
  if (mapping !== undefined) return mapping;
  if (volume.kind !== "block" || dirname(volume.path) !== "/dev/mapper") return undefined;
  return basename(volume.path);
}

/** One text for all names of a file or device; undefined for what has no bytes that could be compared. */
async function identityOf(volume: Volume): Promise<string | undefined> {
  switch (volume.kind) {
    case "file":
    case "block":
      return identityOfPath(volume.path);
    case "rbd":
      return volumeName(volume);
    case "none":
      return undefined;
    case "other":
      return volume.path === undefined ? undefined : identityOfPath(volume.path);
  }
}

async function identityOfPath(path: string): Promise<string> {
  try {
    const found = await stat(path, { bigint: true });
    return found.isBlockDevice() ? `device ${found.rdev}` : `inode ${found.ino} of ${found.dev}`;
  } catch {
    // not there, or not to be seen: its name is all there is
    return `path ${path}`;
  }
}
