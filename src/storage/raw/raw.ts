import { PAYLOAD_OFFSET } from "../../encryption/luks-header.js";
import { allocateFile } from "../file-allocation.js";
import { imagePath, isImageFile } from "../image-file.js";
import { growFile } from "./raw-grow.js";
import { RawImage } from "./raw-image.js";
import { RawLuksBackend } from "../raw-luks/raw-luks-backend.js";
import type { RawVolume } from "../raw-luks/raw-volume.js";
import { wholeSectors } from "../sectors.js";
import type { AllocateRequest, GrowRequest, QemuNode, VolumeAllocator } from "../storage-backend.js";
import type { Volume } from "../volume.js";
import { type Access, VolumeFile } from "../volume-file.js";

/** Raw image files. */
export class RawBackend extends RawLuksBackend implements VolumeAllocator {
  readonly type = "raw";

  accepts(volume: Volume): boolean {
    return isImageFile(volume, "raw");
  }

  protected async open(volume: Volume, access: Access): Promise<RawVolume> {
    return new RawImage(this.runner, await VolumeFile.open(imagePath(volume, "raw"), access));
  }

  qemuNode(volume: Volume, secretId: string): QemuNode {
    const filename = imagePath(volume, "raw");
    return { driver: "luks", "key-secret": secretId, file: { driver: "file", filename } };
  }

  grow(request: GrowRequest): Promise<bigint> {
    return growFile(imagePath(request.volume, "raw"), request, { runner: this.runner, locks: this.locks });
  }

  async allocate({ volume, guestSize }: AllocateRequest): Promise<bigint> {
    const size = wholeSectors(guestSize) + BigInt(PAYLOAD_OFFSET);
    await allocateFile(imagePath(volume, "raw"), (file) => file.truncate(Number(size)));
    return size;
  }
}
