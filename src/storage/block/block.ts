import { LuksmithError } from "../../error/luksmith-error.js";
import { BlockDevice } from "./block-device.js";
import { RawLuksBackend } from "../raw-luks/raw-luks-backend.js";
import type { RawVolume } from "../raw-luks/raw-volume.js";
import type { GrowRequest, QemuNode } from "../storage-backend.js";
import { type Volume, volumeName } from "../volume.js";
import { refuseShrinking, volumeNotGrown } from "../volume-error.js";
import type { Access } from "../volume-file.js";

/** Block devices of any sort: whole disks, partitions, iSCSI and Fibre Channel LUNs, multipath maps. */
export class BlockBackend extends RawLuksBackend {
  readonly type: string = "block";

  accepts(volume: Volume): boolean | Promise<boolean> {
    return volume.kind === "block" && volume.format === "raw";
  }

  protected async open(volume: Volume, access: Access): Promise<RawVolume> {
    return BlockDevice.open(this.runner, devicePath(volume), access);
  }

  qemuNode(volume: Volume, secretId: string): QemuNode {
    const filename = devicePath(volume);
    return { driver: "luks", "key-secret": secretId, file: { driver: "host_device", filename } };
  }

  /** A device is enlarged where it is made; what is done here is to find out how much of it the guest can have. */
  async grow({ volume, header, guestSize }: GrowRequest): Promise<bigint> {
    const name = volumeName(volume);
    const now = await this.guestSize(volume, header);
    if (now < guestSize) {
      throw volumeNotGrown(
        name,
        `its guest can see ${now} bytes of it, and Luksmith cannot enlarge a block device`,
        "enlarge the device where it is made, then run this again",
      );
    }
    refuseShrinking(name, now, guestSize);
    return now;
  }
}

/** @throws VOLUME_UNSUPPORTED */
export function devicePath(volume: Volume): string {
  if (volume.kind === "block" && volume.format === "raw") return volume.path;
  throw new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `cannot use ${volumeName(volume)} as a block device`,
    why: volume.kind === "block" ? "its image format is not raw" : "it is none",
  });
}
