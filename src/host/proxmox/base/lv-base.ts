import type { QemuNode } from "../../../storage/storage-backend.js";
import { BlockDevice } from "../../../storage/block/block-device.js";
import { blockDeviceAt } from "../../../storage/lvm/lvm-device.js";
import { LvActivation } from "../../../storage/lvm/lvm-activation.js";
import { runLvm } from "../../../storage/lvm/lvm-command.js";
import { fullName, type LvName } from "../../../storage/lvm/lvm-name.js";
import { listLvs, type LvEntry } from "../../../storage/lvm/lvm-report.js";
import type { PathVolume } from "../../../storage/volume.js";
import { volumeAbsent, volumeBusy, volumeExists, volumeUnreadable } from "../../../storage/volume-error.js";
import type { BaseStorage } from "./base-storage.js";
import type { BasePorts } from "./index.js";
import { eraseHeader, requireLockable, saying } from "./volume-change.js";
import { isVolumeName } from "./volume-name.js";

/** Logical volumes of one volume group, called as Proxmox VE calls them. */
export abstract class LvBase implements BaseStorage {
  abstract readonly type: "lvm" | "lvm-thin";
  readonly #activation: LvActivation;

  constructor(
    readonly vg: string,
    protected readonly ports: BasePorts,
  ) {
    this.#activation = new LvActivation(ports.runner, ports.locks);
  }

  /** Whether a volume of the group is one of this base. */
  protected abstract takes(lv: LvEntry): boolean;
  requireFree?(name: string): Promise<void>;
  /** @throws VOLUME_UNSUPPORTED where there are none */
  protected abstract snapshotName(name: string, snapshot: string): string;
  /** Whether the header of a volume that is active can be overwritten, and nobody else needs it. */
  protected abstract canErase(lv: LvEntry): Promise<boolean>;

  volume(name: string, snapshot?: string): PathVolume {
    return { kind: "block", path: this.pathOf(this.lvName(name, snapshot)), format: "raw" };
  }

  qemuNode(name: string, snapshot: string | undefined, secretId: string): QemuNode {
    const filename = this.volume(name, snapshot).path;
    return { driver: "luks", "key-secret": secretId, file: { driver: "host_device", filename } };
  }

  async list(): Promise<string[]> {
    const all = await this.all();
    return all
      .filter((lv) => isVolumeName(lv.name) && this.takes(lv))
      .map(({ name }) => name)
      .sort();
  }

  async requireUnused(name: string): Promise<void> {
    const { path } = this.volume(name);
    // one that is not active is not open here
    if ((await blockDeviceAt(path)) === "absent") return;
    await using device = await BlockDevice.open(this.ports.runner, path, "read-write");
    await requireLockable(device, this.ports.locks).catch(saying(`volume ${path} is in use`));
  }

  async remove(name: string): Promise<void> {
    const { path } = this.volume(name);
    const failed = saying(`cannot remove volume ${path}`);
    const all = await this.all();
    const lv = all.find((entry) => entry.name === name);
    if (lv === undefined) return;
    if (!this.takes(lv)) throw volumeUnreadable(path, `it is no volume of a base of type ${this.type}`);
    refuseIfNeeded(lv, all, path, failed);
    if (lv.isReadOnly) await this.makeWritable(lv).catch(failed);
    await this.erase(lv, path).catch(failed);
    // by its UUID: whoever has the name by now
    const selection = ["--select", `lv_uuid=${lv.uuid}`];
    await runLvm(this.ports.runner, "lvremove", ["--yes", ...selection, "--", this.vg]).catch(failed);
  }

  async rename(name: string, to: string): Promise<void> {
    const { path } = this.volume(name);
    const failed = saying(`cannot rename volume ${path}`);
    const all = await this.all();
    const lv = all.find((entry) => entry.name === name && this.takes(entry));
    if (lv === undefined) throw volumeAbsent(path);
    if (all.some((other) => other.name === to)) throw volumeExists(this.volume(to).path);
    await this.requireFree?.(to);
    // they name it as their template
    if (all.some(({ tags }) => tags.includes(templateTag(name)))) refuseIfNeeded(lv, all, path, failed);
    await this.requireUnused(name);
    // LVM replaces none
    await runLvm(this.ports.runner, "lvrename", ["--", this.vg, name, to]).catch(failed);
  }

  activate(name: string, snapshot?: string): Promise<AsyncDisposable> {
    const lv = this.lvName(name, snapshot);
    return this.#activation.use(this.pathOf(lv), lv);
  }

  private async erase(lv: LvEntry, path: string): Promise<void> {
    const activation = await this.activate(lv.name);
    try {
      await using device = await BlockDevice.open(this.ports.runner, path, "read-write");
      if (await this.canErase(lv)) await eraseHeader(device, this.ports.locks);
      else await requireLockable(device, this.ports.locks);
    } finally {
      await activation[Symbol.asyncDispose]();
    }
  }

  /** Templates are not, for anybody. */
  private async makeWritable({ name }: LvEntry): Promise<void> {
    await runLvm(this.ports.runner, "lvchange", ["--permission", "rw", "--", `${this.vg}/${name}`]);
  }

  protected async all(): Promise<readonly LvEntry[]> {
    const unreadable = saying(`cannot list volume group ${this.vg}`, "VOLUME_UNREADABLE");
    return await listLvs(this.ports.runner, this.vg).catch(unreadable);
  }

  private lvName(name: string, snapshot: string | undefined): LvName {
    return { group: this.vg, volume: snapshot === undefined ? name : this.snapshotName(name, snapshot) };
  }

  private pathOf(lv: LvName): string {
    return `/dev/${fullName(lv)}`;
  }
}

/** What linked clones of a template have, also when they were rolled back and LVM knows no origin any more. */
export function templateTag(template: string): string {
  return `luksmith.template=${template}`;
}

/** @throws VOLUME_BUSY */
function refuseIfNeeded(
  { name }: LvEntry,
  all: readonly LvEntry[],
  path: string,
  failed: (thrown: unknown) => never,
): void {
  const tag = templateTag(name);
  const dependents = all.filter(({ origin, tags }) => origin === name || tags.includes(tag));
  if (dependents.length === 0) return;
  const names = dependents.map((entry) => entry.name).join(", ");
  failed(volumeBusy(path, `others depend on it: ${names}`));
}
