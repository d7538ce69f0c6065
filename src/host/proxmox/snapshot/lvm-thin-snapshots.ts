import { createHash } from "node:crypto";
import { LuksmithError } from "../../../error/luksmith-error.js";
import { askLvm } from "../../../storage/lvm/lvm-command.js";
import { listLvs, type LvEntry } from "../../../storage/lvm/lvm-report.js";
import type { CloneStorage, SnapshotStorage } from "../base/base-storage.js";
import type { BasePorts } from "../base/index.js";
import { templateTag } from "../base/lv-base.js";
import type { LvmThinBase } from "../base/lvm-thin.js";
import { storageFailed } from "./snapshot-error.js";
import { requireSnapshotName } from "./snapshot-name.js";

const WRITABLE = ["--permission", "rw", "--setactivationskip", "n"];

/**
 * Snapshots of thin volumes: thin volumes themselves, `snap_NAME_SNAPSHOT`, which are read-only and stay inactive.
 * LVM holds back and flushes what is being written while it makes one; what a running guest has not written yet is its
 * own affair, or Proxmox VE's, which freezes the guest's file systems.
 */
export class LvmThinSnapshots implements SnapshotStorage, CloneStorage {
  constructor(
    private readonly base: LvmThinBase,
    private readonly ports: BasePorts,
  ) {}

  async snapshot(name: string, snapshot: string): Promise<void> {
    requireSnapshotName(snapshot);
    const what = `cannot make snapshot ${snapshot} of volume ${this.pathOf(name)}`;
    const options = ["--permission", "r", "--setactivationskip", "y"];
    const tags = await this.tagsOf(name, what);
    await this.copy(name, this.snapshotName(name, snapshot), [...options, ...tags], what);
  }

  /**
   * A copy of the snapshot takes the volume's place, as LVM cannot bring it back in one step. Killed in between, the
   * snapshot is what it was, and the same rollback makes the volume from it again.
   */
  async rollback(name: string, snapshot: string): Promise<void> {
    requireSnapshotName(snapshot);
    const what = `cannot bring volume ${this.pathOf(name)} back to snapshot ${snapshot}`;
    await this.alone(name, async () => {
      const all = await this.all(what);
      const from = this.snapshotName(name, snapshot);
      if (!all.some((lv) => lv.name === from))
        throw storageFailed("VOLUME_NOT_FOUND", what, "there is no such snapshot");
      const volume = all.find((lv) => lv.name === name);
      if (volume !== undefined) await this.base.requireUnused(name);
      const copy = this.temporaryName(name);
      const left = all.find((lv) => lv.name === copy);
      // a linked clone stays one; the snapshot knows it where the volume is gone
      const tags = tagOptions(all.filter((lv) => lv.name === name || lv.name === from));
      if (left !== undefined) await this.remove(left, what);
      await this.copy(from, copy, [...WRITABLE, ...tags], what);
      try {
        if (volume !== undefined) await this.remove(volume, what);
      } catch (thrown) {
        await this.removeCopy(copy, what);
        throw thrown;
      }
      await this.lvm("lvrename", ["--", this.base.vg, copy, name], what);
    });
  }

  async deleteSnapshot(name: string, snapshot: string): Promise<void> {
    requireSnapshotName(snapshot);
    const what = `cannot remove snapshot ${snapshot} of volume ${this.pathOf(name)}`;
    const found = (await this.all(what)).find((lv) => lv.name === this.snapshotName(name, snapshot));
    if (found !== undefined) await this.remove(found, what);
  }

  async snapshots(name: string): Promise<string[]> {
    return await this.base.snapshotsOf(name);
  }

  /** Read-only from then on, also for LVM. Idempotent: what a killed call has begun is finished. */
  async makeTemplate(name: string, to: string): Promise<void> {
    const what = `cannot make volume ${this.pathOf(name)} a template`;
    const all = await this.all(what);
    const isBegun = !all.some((lv) => lv.name === name) && all.some((lv) => lv.name === to);
    if (!isBegun) {
      const snapshots = await this.snapshots(name);
      if (snapshots.length > 0)
        throw storageFailed("VOLUME_BUSY", what, `it has snapshots: ${snapshots.join(", ")}`);
      await this.base.rename(name, to);
    }
    await this.lvm(
      "lvchange",
      ["--permission", "r", "--", `${this.base.vg}/${to}`],
      what,
      /already .*read-only/,
    );
    await this.lvm("lvchange", ["--activate", "n", "--", `${this.base.vg}/${to}`], what);
  }

  async clone(name: string, snapshot: string | undefined, to: string): Promise<void> {
    if (snapshot !== undefined) requireSnapshotName(snapshot);
    const from = snapshot === undefined ? name : this.snapshotName(name, snapshot);
    const what = `cannot make volume ${this.pathOf(to)} as a clone of ${this.pathOf(from)}`;
    await this.base.requireFree(to);
    const own = name.startsWith("base-") ? ["--addtag", templateTag(name)] : [];
    const tags = [...own, ...(await this.tagsOf(from, what))];
    await this.copy(from, to, [...WRITABLE, ...tags], what);
  }

  /** As options that give them to another volume: LVM itself passes none on. */
  private async tagsOf(name: string, what: string): Promise<string[]> {
    return tagOptions((await this.all(what)).filter((lv) => lv.name === name));
  }

  private async copy(from: string, to: string, options: readonly string[], what: string): Promise<void> {
    const { vg } = this.base;
    const args = ["--snapshot", "--activate", "n", ...options, "--name", to, "--", `${vg}/${from}`];
    await this.lvm("lvcreate", args, what);
  }

  private async removeCopy(copy: string, what: string): Promise<void> {
    const made = (await this.all(what)).find((lv) => lv.name === copy);
    if (made !== undefined) await this.remove(made, what);
  }

  /** By its UUID: whoever has the name by now. */
  private async remove({ uuid }: LvEntry, what: string): Promise<void> {
    await this.lvm("lvremove", ["--yes", "--select", `lv_uuid=${uuid}`, "--", this.base.vg], what);
  }

  /** @param tolerated what LVM says where there was nothing to do */
  private async lvm(
    tool: "lvcreate" | "lvrename" | "lvremove" | "lvchange",
    args: readonly string[],
    what: string,
    tolerated?: RegExp,
  ): Promise<void> {
    const answer = await askLvm(this.ports.runner, tool, args);
    if (answer.kind === "done" || tolerated?.test(answer.reason) === true) return;
    throw storageFailed(codeFor(answer.reason), what, answer.reason);
  }

  private async all(what: string): Promise<readonly LvEntry[]> {
    try {
      const all = await listLvs(this.ports.runner, this.base.vg);
      return all.filter(({ pool }) => pool === this.base.pool);
    } catch (thrown) {
      if (!(thrown instanceof LuksmithError) || thrown.code !== "TOOL_FAILED") throw thrown;
      throw storageFailed("VOLUME_UNREADABLE", what, thrown.why ?? thrown.message);
    }
  }

  private alone(name: string, work: () => Promise<void>): Promise<void> {
    return this.ports.locks.hold(`snapshots of logical volume ${this.base.vg}/${name}`, work);
  }

  private snapshotName(name: string, snapshot: string): string {
    return this.base.snapshotName(name, snapshot);
  }

  /** No volume's of Proxmox VE. */
  private temporaryName(name: string): string {
    return `luksmith-rollback-${createHash("sha256").update(name).digest("hex").slice(0, 16)}`;
  }

  private pathOf(name: string): string {
    return `/dev/${this.base.vg}/${name}`;
  }
}

function codeFor(reason: string) {
  if (/ already exists/.test(reason)) return "VOLUME_EXISTS";
  if (/ not found|Failed to find logical volume/.test(reason)) return "VOLUME_NOT_FOUND";
  if (/ in use/.test(reason)) return "VOLUME_BUSY";
  return "VOLUME_WRITE_FAILED";
}

/** Of linked clones, and of their snapshots: what template they are of. */
function tagOptions(lvs: readonly LvEntry[]): string[] {
  const tags = lvs.flatMap((lv) => lv.tags.filter((tag) => tag.startsWith(templateTag(""))));
  return [...new Set(tags)].flatMap((tag) => ["--addtag", tag]);
}
