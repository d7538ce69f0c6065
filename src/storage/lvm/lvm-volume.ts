import type { CommandRunner } from "../../exec/command-runner.js";
import { BlockDevice } from "../block/block-device.js";
import type { LvName } from "./lvm-name.js";
import { dependentsOf } from "./lvm-report.js";
import type { VolumeFile } from "../volume-file.js";

/** A logical volume that is open, and active at least until it is disposed of. */
export class LvmVolume extends BlockDevice {
  constructor(
    runner: CommandRunner,
    file: VolumeFile,
    protected readonly lv: LvName,
    private readonly activation: AsyncDisposable,
  ) {
    super(runner, file);
  }

  /** A snapshot of an empty volume would bring the guest's disk back to what is not encrypted. */
  override async obstacle(): Promise<string | undefined> {
    const count = await dependentsOf(this.runner, this.name, this.lv);
    if (count === 0) return undefined;
    return count === 1 ? "1 snapshot" : `${count} snapshots`;
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    try {
      await super[Symbol.asyncDispose]();
    } finally {
      await this.activation[Symbol.asyncDispose]();
    }
  }
}
