import type { EncryptionFormat } from "../../encryption/luks-spec.js";
import { LuksmithError } from "../../error/luksmith-error.js";
import { findTool, type Tool } from "../../exec/tools.js";
import { devicePath } from "../block/block.js";
import { LvActivation } from "./lvm-activation.js";
import { type AllocationPlace, allocateLv } from "./lvm-allocate.js";
import { type LvmPart, mappedDevice } from "./lvm-device.js";
import { growLv } from "./lvm-grow.js";
import { findingOf, findLv, type LvFinding } from "./lvm-lookup.js";
import { type LvName, lvNameOf } from "./lvm-name.js";
import { reportLvAt } from "./lvm-report.js";
import type { LvmVolume } from "./lvm-volume.js";
import { RawLuksBackend } from "../raw-luks/raw-luks-backend.js";
import type { AllocateRequest, GrowRequest, QemuNode, VolumeAllocator } from "../storage-backend.js";
import { type Volume, volumeName } from "../volume.js";
import { volumeAbsent, volumeUnreadable } from "../volume-error.js";
import { type Access, deviceNumber, VolumeFile } from "../volume-file.js";

export const LVM_TOOLS: readonly Tool[] = ["lvchange", "lvcreate", "lvextend", "lvremove", "lvrename", "lvs"];

/** What all logical volumes have in common. Those that are not active are, while they are open. */
export abstract class LvBackend extends RawLuksBackend implements VolumeAllocator {
  /** `plain` is what OpenStack Nova's LVM volumes were. */
  override readonly formats: readonly EncryptionFormat[] = ["luks", "luksv2", "plain"];
  override readonly tools = LVM_TOOLS;
  readonly #activation = new LvActivation(this.runner, this.locks);

  /** Whether what LVM has under a path is this backend's. */
  protected abstract takes(finding: LvFinding): boolean;
  /** Undefined for a device that is another backend's. */
  protected abstract volumeOf(
    file: VolumeFile,
    part: LvmPart,
    activation: AsyncDisposable,
  ): LvmVolume | undefined;
  /** @throws VOLUME_ALLOCATE_FAILED */
  protected abstract placeFor(request: AllocateRequest): AllocationPlace;

  async accepts(volume: Volume): Promise<boolean> {
    if (volume.kind !== "block" || volume.format !== "raw") return false;
    // where LVM is not installed, its volumes are devices as any other
    if (findTool("lvs") === undefined) return false;
    const finding = await findLv(this.runner, volume.path);
    return finding !== undefined && this.takes(finding);
  }

  protected async open(volume: Volume, access: Access): Promise<LvmVolume> {
    const path = devicePath(volume);
    const activation = await this.#activation.use(path, await this.nameOf(path));
    try {
      const file = await VolumeFile.open(path, access, "block device");
      try {
        return this.opened(file, path, activation);
      } catch (thrown) {
        await file[Symbol.asyncDispose]();
        throw thrown;
      }
    } catch (thrown) {
      await activation[Symbol.asyncDispose]();
      throw thrown;
    }
  }

  /** What was found under the path may have gone before it was opened: only what is open now counts. */
  private opened(file: VolumeFile, path: string, activation: AsyncDisposable): LvmVolume {
    const device = mappedDevice(deviceNumber(file.stats));
    const finding = device === undefined ? undefined : findingOf(device, lvNameOf(path));
    if (finding?.kind === "refused") throw volumeUnreadable(path, finding.reason);
    const lvm = device?.lvm && this.volumeOf(file, device.lvm, activation);
    if (lvm === undefined) throw this.notOurs(path);
    return lvm;
  }

  qemuNode(volume: Volume, secretId: string): QemuNode {
    const filename = devicePath(volume);
    return { driver: "luks", "key-secret": secretId, file: { driver: "host_device", filename } };
  }

  async extent(volume: Volume): Promise<bigint> {
    const path = devicePath(volume);
    return (await reportLvAt(this.runner, path, await this.nameOf(path))).extent;
  }

  async grow(request: GrowRequest): Promise<bigint> {
    const path = devicePath(request.volume);
    return await growLv(path, await this.nameOf(path), request, { runner: this.runner, locks: this.locks });
  }

  async allocate(request: AllocateRequest): Promise<bigint> {
    const { path, lv } = this.newLv(request.volume);
    return await allocateLv(path, lv, request.guestSize, this.placeFor(request), this.ports);
  }

  protected get ports() {
    return { runner: this.runner, locks: this.locks };
  }

  /** @throws VOLUME_UNSUPPORTED for what cannot be the path of a logical volume */
  protected newLv(volume: Volume): { readonly path: string; readonly lv: LvName } {
    const path = devicePath(volume);
    const lv = lvNameOf(path);
    if (lv !== undefined) return { path, lv };
    throw new LuksmithError("VOLUME_UNSUPPORTED", {
      what: `cannot make ${volumeName(volume)} as a logical volume`,
      why: "its path is not that of one",
      hint: "say /dev/GROUP/NAME",
    });
  }

  /** @throws VOLUME_NOT_FOUND, VOLUME_UNREADABLE */
  private async nameOf(path: string): Promise<LvName> {
    const finding = await findLv(this.runner, path);
    if (finding === undefined) throw volumeAbsent(path);
    if (finding.kind === "refused") throw volumeUnreadable(path, finding.reason);
    if (!this.takes(finding)) throw this.notOurs(path);
    return finding.lv;
  }

  private notOurs(path: string): LuksmithError {
    return volumeUnreadable(path, `it is not, or no longer, a volume of storage ${this.type}`);
  }
}
