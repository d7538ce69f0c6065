import type { Tool } from "../../exec/tools.js";
import type { AllocationPlace } from "./lvm-allocate.js";
import { LVM_TOOLS, LvBackend } from "./lvm-backend.js";
import type { LvmPart } from "./lvm-device.js";
import type { LvFinding } from "./lvm-lookup.js";
import { isLvmName } from "./lvm-name.js";
import { LvmThinVolume } from "./lvm-thin-volume.js";
import type { LvmVolume } from "./lvm-volume.js";
import type { AllocateRequest } from "../storage-backend.js";
import { volumeName } from "../volume.js";
import { volumeNotAllocated } from "../volume-error.js";
import type { VolumeFile } from "../volume-file.js";

/** Logical volumes that get blocks of a thin pool as they are written. */
export class LvmThinBackend extends LvBackend {
  readonly type = "lvm-thin";
  override readonly tools: readonly Tool[] = [...LVM_TOOLS, "dmsetup"];

  protected takes({ kind }: LvFinding): boolean {
    return kind === "thin";
  }

  protected volumeOf(file: VolumeFile, part: LvmPart, activation: AsyncDisposable): LvmVolume | undefined {
    if (part.kind !== "thin") return undefined;
    return new LvmThinVolume(this.runner, file, part.lv, activation, part.pool);
  }

  protected placeFor({ volume, pool }: AllocateRequest): AllocationPlace {
    if (pool !== undefined && isLvmName(pool)) return { kind: "thin-pool", pool };
    const why = pool === undefined ? "no thin pool was named" : `no thin pool can be called ${pool}`;
    throw volumeNotAllocated(volumeName(volume), why);
  }
}
