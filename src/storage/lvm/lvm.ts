import type { AllocationPlace } from "./lvm-allocate.js";
import { LvBackend } from "./lvm-backend.js";
import type { LvmPart } from "./lvm-device.js";
import type { LvFinding } from "./lvm-lookup.js";
import { LvmVolume } from "./lvm-volume.js";
import type { AllocateRequest } from "../storage-backend.js";
import { volumeName } from "../volume.js";
import { volumeNotAllocated } from "../volume-error.js";
import type { VolumeFile } from "../volume-file.js";

/** Logical volumes that have all of their extents: linear, striped, RAID, cached ones. */
export class LvmBackend extends LvBackend {
  readonly type = "lvm";

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
