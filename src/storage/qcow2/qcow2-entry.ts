import { stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { VolumeFile } from "../volume-file.js";
import type { VolumeLocks } from "../volume-lock.js";

/**
 * Does `work` on the image that `path` leads to, under its lock: that of the directory's entry and not of the inode,
 * since the entry is what formatting replaces.
 * @param work is given the path without symbolic links, and the lock for a child that could outlive this process
 * @throws VOLUME_NOT_FOUND, VOLUME_UNREADABLE, LOCK_TIMEOUT, NOT_PERMITTED
 */
export async function holdEntry<T>(
  locks: VolumeLocks,
  path: string,
  work: (real: string, lock: number) => Promise<T>,
): Promise<T> {
  const real = await realPath(path);
  const { dev, ino } = await stat(dirname(real), { bigint: true });
  return await locks.hold(`entry ${dev}:${ino}/${basename(real)}`, (lock) => work(real, lock));
}

async function realPath(path: string): Promise<string> {
  await using file = await VolumeFile.open(path, "read");
  return file.path;
}
