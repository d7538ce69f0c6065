import type { LuksHeader } from "../../encryption/luks-header.js";
import { allocateFormattedLv, type AllocationPlace } from "./lvm-allocate.js";
import { LvBackend } from "./lvm-backend.js";
import type { LvmPart } from "./lvm-device.js";
import type { LvFinding } from "./lvm-lookup.js";
import { LvmVolume } from "./lvm-volume.js";
import type { AllocateRequest, EncryptedAllocator, FormatRequest } from "../storage-backend.js";
import { volumeName } from "../volume.js";
import { volumeNotAllocated } from "../volume-error.js";
import type { VolumeFile } from "../volume-file.js";

/** Logical volumes that have all of their extents: linear, striped, RAID, cached ones. */
export class LvmBackend extends LvBackend implements EncryptedAllocator {
  readonly type = "lvm";

  async allocateEncrypted(request: AllocateRequest & FormatRequest): Promise<LuksHeader> {
    const { volume, guestSize } = request;
    const { path, lv } = this.newLv(volume);
    const format = async (temporaryPath: string): Promise<LuksHeader> => {
      await using raw = await this.open({ kind: "block", path: temporaryPath, format: "raw" }, "read-write");
      return await this.format.runOnNew(raw, request);
    };
    return await allocateFormattedLv(path, lv, guestSize, format, this.ports);
  }

  /** It speaks for what LVM has and no guest may have, so that `block` does not take that for a device as any other. */
  protected takes({ kind }: LvFinding): boolean {
    return kind !== "thin";
  }

  protected volumeOf(file: VolumeFile, part: LvmPart, activation: AsyncDisposable): LvmVolume | undefined {
    return part.kind === "thick" ? new LvmVolume(this.runner, file, part.lv, activation) : undefined;
  }

  protected placeFor({ volume, pool }: AllocateRequest): AllocationPlace {
    if (pool === undefined) return { kind: "group" };
    throw volumeNotAllocated(volumeName(volume), `storage ${this.type} takes nothing from a pool`);
  }
}
