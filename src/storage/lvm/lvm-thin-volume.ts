import { PAYLOAD_OFFSET } from "../../encryption/luks-header.js";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import type { Allocation } from "../allocation-map.js";
import type { ImageLock } from "../image-lock.js";
import { devicesBelow, type ThinPoolDevice } from "./lvm-device.js";
import type { LvName } from "./lvm-name.js";
import { LvmVolume } from "./lvm-volume.js";
import { roundUp } from "../sectors.js";
import { thinLayout, thinMapping, thinPoolTrouble } from "./thin-pool.js";
import { volumeUnwritable } from "../volume-error.js";
import { deviceNumber, type VolumeFile } from "../volume-file.js";

/** A thin logical volume that is open. Blocks that were never written are not there, and read as zero. */
export class LvmThinVolume extends LvmVolume {
  constructor(
    runner: CommandRunner,
    file: VolumeFile,
    lv: LvName,
    activation: AsyncDisposable,
    private readonly pool: ThinPoolDevice,
  ) {
    super(runner, file, lv, activation);
  }

  /** By the pool's own count, which is exact, up to the last block that was ever written. */
  override async allocation(): Promise<Allocation> {
    // what was written and is still in the kernel's memory has no block yet
    await this.dropCache();
    const number = deviceNumber(this.file.stats);
    const mapping = await thinMapping(this.runner, number);
    // below it is the pool alone, unless it began as another volume's copy
    const isItsOwn = devicesBelow(number).every((below) => below === this.pool.number);
    if (mapping === undefined || !isItsOwn) return super.allocation();
    const length = Math.min(this.size, mapping.end);
    return length === 0 ? [] : [{ offset: 0, length }];
  }

  /**
   * A pool may give out blocks with old bytes in them. Behind what a killed try has written, up to the end of that
   * block, these are nobody's; a guest that has written anything has done so behind the LUKS header.
   */
  override async readsAsZero(allocation: Allocation, from: number): Promise<boolean> {
    return await super.readsAsZero(allocation, from === 0 ? 0 : await this.endOfBlock(from));
  }

  override async lock(volumeLock: number): Promise<ImageLock> {
    // a full pool would let us wait for a minute before it says so
    const trouble = await thinPoolTrouble(this.runner, this.pool);
    if (trouble !== undefined) throw volumeUnwritable(this.name, trouble);
    return await super.lock(volumeLock);
  }

  override async write(offset: number, bytes: Buffer): Promise<void> {
    await this.explained(() => super.write(offset, bytes));
  }

  override async sync(): Promise<void> {
    await this.explained(() => super.sync());
  }

  private async endOfBlock(offset: number): Promise<number> {
    const { blockSize, clears } = await thinLayout(this.runner, this.pool);
    if (clears) return offset;
    const end = Number(roundUp(BigInt(offset), BigInt(blockSize)));
    return Math.max(offset, Math.min(end, PAYLOAD_OFFSET));
  }

  /** The kernel says no more than that a write failed. */
  private async explained(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (thrown) {
      if (!(thrown instanceof LuksmithError) || thrown.code !== "VOLUME_WRITE_FAILED") throw thrown;
      const trouble = await thinPoolTrouble(this.runner, this.pool);
      throw trouble === undefined ? thrown : volumeUnwritable(this.name, trouble);
    }
  }
}
