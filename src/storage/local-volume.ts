import type { CommandRunner } from "../exec/command-runner.js";
import type { Allocation } from "./allocation-map.js";
import type { ImageLock } from "./image-lock.js";
import type { RawVolume } from "./raw-luks/raw-volume.js";
import { signatureOf } from "./signature.js";
import type { VolumeFile } from "./volume-file.js";
import { readsAsZero } from "./zero.js";

/** A raw volume that the kernel shows under a path, a file or a device: what is the same for both. */
export abstract class LocalVolume implements RawVolume {
  constructor(
    protected readonly runner: CommandRunner,
    protected readonly file: VolumeFile,
  ) {}

  abstract readonly identity: string;
  abstract allocation(): Promise<Allocation>;
  abstract lock(volumeLock: number): Promise<ImageLock>;

  get name(): string {
    return this.file.name;
  }

  get size(): number {
    return this.file.size;
  }

  read(offset: number, length: number): Promise<Buffer> {
    return this.file.read(offset, length);
  }

  write(offset: number, bytes: Buffer): Promise<void> {
    return this.file.write(offset, bytes);
  }

  sync(): Promise<void> {
    return this.file.sync();
  }

  share(): Promise<AsyncDisposable> {
    return this.file.share();
  }

  isInPlace(): Promise<boolean> {
    return this.file.isInPlace();
  }

  readsAsZero(allocation: Allocation, from: number): Promise<boolean> {
    return readsAsZero(this.file, allocation, from);
  }

  obstacle(): Promise<string | undefined> {
    return Promise.resolve(undefined);
  }

  signature(): Promise<string | undefined> {
    return signatureOf(this.runner, this.file);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.file[Symbol.asyncDispose]();
  }
}
