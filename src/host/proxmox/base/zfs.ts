import { setTimeout } from "node:timers/promises";
import type { CommandResult } from "../../../exec/command-runner.js";
import { LuksmithError } from "../../../error/luksmith-error.js";
import { blockDeviceAt } from "../../../storage/lvm/lvm-device.js";
import type { QemuNode } from "../../../storage/storage-backend.js";
import type { PathVolume } from "../../../storage/volume.js";
import { volumeAbsent, volumeBusy, volumeExists, volumeUnreadable } from "../../../storage/volume-error.js";
import { ZfsDataset } from "../../../storage/zfs/zfs-dataset.js";
import { Zvol } from "../../../storage/zfs/zvol.js";
import type { BaseStorage } from "./base-storage.js";
import type { BasePorts } from "./index.js";
import { eraseHeader, requireLockable, saying } from "./volume-change.js";
import { isVolumeName } from "./volume-name.js";

const TIMEOUT = 120_000;
/** Milliseconds that udev may take to show a device, and to look again. */
const PATIENCE = 10_000;
const PAUSE = 50;

/** ZFS volumes under one dataset. */
export class ZfsBase implements BaseStorage {
  readonly type = "zfs";

  constructor(
    readonly dataset: string,
    private readonly ports: BasePorts,
    private readonly patience = PATIENCE,
  ) {}

  volume(name: string, snapshot?: string): PathVolume {
    const path = `/dev/zvol/${this.nameOf(name)}${snapshot === undefined ? "" : `@${snapshot}`}`;
    return { kind: "block", path, format: "raw" };
  }

  qemuNode(name: string, snapshot: string | undefined, secretId: string): QemuNode {
    const filename = this.volume(name, snapshot).path;
    return { driver: "luks", "key-secret": secretId, file: { driver: "host_device", filename } };
  }

  async list(): Promise<string[]> {
    const args = ["-H", "-o", "name", "-t", "volume", "-d", "1", this.dataset];
    const { exitCode, stdout, stderr } = await this.zfs("list", ...args);
    if (exitCode !== 0) throw volumeUnreadable(this.dataset, complaintOf(stderr));
    return stdout
      .split("\n")
      .filter((line) => line.startsWith(`${this.dataset}/`))
      .map((line) => line.slice(this.dataset.length + 1))
      .filter(isVolumeName)
      .sort();
  }

  async requireUnused(name: string): Promise<void> {
    if (!(await this.has(name))) return;
    await using zvol = await this.open(name);
    await requireLockable(zvol, this.ports.locks).catch(saying(`volume ${zvol.name} is in use`));
  }

  async remove(name: string): Promise<void> {
    if (!(await this.has(name))) return;
    const { path } = this.volume(name);
    const failed = saying(`cannot remove volume ${path}`);
    const dataset = this.datasetOf(name);
    const { length } = await dataset.snapshots();
    if (length > 0) failed(volumeBusy(path, `it has ${length} ${length === 1 ? "snapshot" : "snapshots"}`));
    // of a clone the header is its template's
    const properties = await dataset.properties("origin", "readonly");
    const isClone = properties.get("origin") !== "-";
    // a template's is
    if (properties.get("readonly") === "on")
      await this.change(`cannot remove volume ${path}`, "set", "readonly=off", dataset.name);
    {
      await using zvol = await this.open(name);
      const work = isClone ? requireLockable(zvol, this.ports.locks) : eraseHeader(zvol, this.ports.locks);
      await work.catch(failed);
    }
    await this.change(`cannot remove volume ${path}`, "destroy", dataset.name);
    await this.disappears(path);
  }

  async rename(name: string, to: string): Promise<void> {
    const { path } = this.volume(name);
    const names = await this.list();
    if (!names.includes(name)) throw volumeAbsent(path);
    if (names.includes(to)) throw volumeExists(this.volume(to).path);
    await this.requireUnused(name);
    // ZFS replaces none
    await this.change(`cannot rename volume ${path}`, "rename", this.nameOf(name), this.nameOf(to));
    await this.disappears(path);
  }

  /** The device of a snapshot is there only where the volume's property snapdev says so. */
  async activate(name: string, snapshot?: string): Promise<AsyncDisposable> {
    const { path } = this.volume(name, snapshot);
    if (snapshot === undefined) {
      if ((await blockDeviceAt(path)) === "absent" && !(await this.has(name))) throw volumeAbsent(path);
      await this.appears(path);
      return { [Symbol.asyncDispose]: () => Promise.resolve() };
    }
    const dataset = this.datasetOf(name);
    const before = (await dataset.properties("snapdev")).get("snapdev");
    if (before !== "visible")
      await this.change(`cannot show snapshot ${path}`, "set", "snapdev=visible", dataset.name);
    const restore = async () => {
      if (before === "visible") return;
      await this.change(`cannot hide snapshot ${path}`, "set", "snapdev=hidden", dataset.name);
    };
    try {
      await this.appears(path);
    } catch (thrown) {
      await restore();
      throw thrown;
    }
    return { [Symbol.asyncDispose]: restore };
  }

  private async appears(path: string): Promise<void> {
    for (let waited = 0; waited < this.patience; waited += PAUSE) {
      if ((await blockDeviceAt(path)) !== "absent") return;
      await setTimeout(PAUSE);
    }
    throw volumeUnreadable(path, `ZFS has it, and it had no device within ${this.patience / 1000} s`);
  }

  /** Until udev has seen it, the old name leads to the volume that has another one now. */
  private async disappears(path: string): Promise<void> {
    for (let waited = 0; waited < this.patience; waited += PAUSE) {
      if ((await blockDeviceAt(path)) === "absent") return;
      await setTimeout(PAUSE);
    }
  }

  private async has(name: string): Promise<boolean> {
    return (await this.list()).includes(name);
  }

  private open(name: string): Promise<Zvol> {
    return Zvol.of(this.ports.runner, this.datasetOf(name), "read-write");
  }

  private datasetOf(name: string): ZfsDataset {
    return new ZfsDataset(this.ports.runner, this.nameOf(name), this.volume(name).path);
  }

  private nameOf(name: string): string {
    return `${this.dataset}/${name}`;
  }

  /** @throws VOLUME_BUSY, VOLUME_WRITE_FAILED */
  private async change(what: string, ...args: readonly string[]): Promise<void> {
    const { exitCode, stderr } = await this.zfs(...args);
    if (exitCode === 0) return;
    const why = complaintOf(stderr);
    const isBusy = /dataset is busy|has children|has dependent clones/.test(stderr);
    throw new LuksmithError(isBusy ? "VOLUME_BUSY" : "VOLUME_WRITE_FAILED", { what, why });
  }

  private zfs(...args: readonly string[]): Promise<CommandResult> {
    // its one exit code for whatever it could not do
    return this.ports.runner.run({ tool: "zfs", args, answers: [1], timeout: TIMEOUT });
  }
}

function complaintOf(stderr: string): string {
  return stderr.trimEnd().split("\n").at(-1) || "zfs did not say why";
}
