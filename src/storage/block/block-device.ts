import type { CommandRunner } from "../../exec/command-runner.js";
import type { Allocation } from "../allocation-map.js";
import { writersOf } from "./device-users.js";
import { type ImageLock, lockImage } from "../image-lock.js";
import { LocalVolume } from "../local-volume.js";
import { volumeBusy } from "../volume-error.js";
import { type Access, deviceNumber, VolumeFile } from "../volume-file.js";

/** A block device that is open. */
export class BlockDevice extends LocalVolume {
  /** @throws as `VolumeFile.open` */
  static async open(runner: CommandRunner, path: string, access: Access): Promise<BlockDevice> {
    return new BlockDevice(runner, await VolumeFile.open(path, access, "block device"));
  }

  /** The device's number and not a path: links and mounts give one device many paths. */
  get identity(): string {
    return `device ${deviceNumber(this.file.stats)}`;
  }

  /** A device has no map that tells what was never written: all of it must be read. */
  allocation(): Promise<Allocation> {
    return Promise.resolve([{ offset: 0, length: this.size }]);
  }

  override async readsAsZero(allocation: Allocation, from: number): Promise<boolean> {
    await this.dropCache();
    return await super.readsAsZero(allocation, from);
  }

  /** What is read afterwards is what the device has, and not what the kernel remembers that it was given. */
  override async sync(): Promise<void> {
    await super.sync();
    await this.dropCache();
  }

  /** The kernel's claim keeps the kernel off, QEMU's lock the QEMUs that see the same node; the others are looked for. */
  async lock(volumeLock: number): Promise<ImageLock> {
    const claim = await this.file.claim();
    let lock: ImageLock | undefined;
    const release = async () => {
      await lock?.[Symbol.asyncDispose]();
      await claim[Symbol.asyncDispose]();
    };
    const assertHeld = async () => {
      await lock?.assertHeld();
      this.refuseWriters();
    };
    try {
      lock = await lockImage(this.runner, this.file, volumeLock);
      await assertHeld();
    } catch (thrown) {
      await release();
      throw thrown;
    }
    return { assertHeld, [Symbol.asyncDispose]: release };
  }

  private refuseWriters(): void {
    const [user] = writersOf(this.file.stats.rdev);
    if (user !== undefined)
      throw volumeBusy(this.name, `process ${user.pid} (${user.command}) has it open for writing`);
  }

  /** BLKFLSBUF. */
  protected async dropCache(): Promise<void> {
    await this.runner.run({
      tool: "blockdev",
      args: ["--flushbufs", "/proc/self/fd/3"],
      fds: [this.file.fd],
    });
  }
}
