import { type Allocation, allocationMap } from "../allocation-map.js";
import { type ImageLock, lockImage } from "../image-lock.js";
import { LocalVolume } from "../local-volume.js";

/** A raw image file that is open. */
export class RawImage extends LocalVolume {
  /** The inode and not the path: links and bind mounts give one volume many paths. */
  get identity(): string {
    return `inode ${this.file.stats.dev}:${this.file.stats.ino}`;
  }

  /** Of what is on the storage: the map of what was written a moment ago is certain only there (ZFS). */
  async allocation(): Promise<Allocation> {
    await this.file.sync();
    return await allocationMap(this.runner, this.file, { format: "raw", size: this.size });
  }

  lock(volumeLock: number): Promise<ImageLock> {
    return lockImage(this.runner, this.file, volumeLock);
  }
}
