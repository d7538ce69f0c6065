import type { CommandResult } from "../../../exec/command-runner.js";
import type { CloneStorage, SnapshotStorage } from "../base/base-storage.js";
import type { BasePorts } from "../base/index.js";
import type { ZfsBase } from "../base/zfs.js";
import { storageFailed } from "./snapshot-error.js";
import { BASE_SNAPSHOT, isSnapshotName, requireSnapshotName } from "./snapshot-name.js";

/** A busy pool finishes its transactions late, which is no reason to fail. */
const TIMEOUT = 600_000;

/**
 * Snapshots of ZFS volumes, each made in one transaction; what a running guest has not written yet is its own affair,
 * or Proxmox VE's, which freezes the guest's file systems. One that has clones cannot be removed.
 */
export class ZfsSnapshots implements SnapshotStorage, CloneStorage {
  constructor(
    private readonly base: ZfsBase,
    private readonly ports: BasePorts,
  ) {}

  async snapshot(name: string, snapshot: string): Promise<void> {
    const full = this.nameOf(name, snapshot);
    await this.change(`cannot make snapshot ${full}`, "snapshot", full);
  }

  /** In one transaction. ZFS goes back to the latest snapshot only: more recent ones must be removed before. */
  async rollback(name: string, snapshot: string): Promise<void> {
    const full = this.nameOf(name, snapshot);
    await this.base.requireUnused(name);
    await this.change(
      `cannot bring volume ${this.nameOf(name)} back to snapshot ${snapshot}`,
      "rollback",
      full,
    );
  }

  async deleteSnapshot(name: string, snapshot: string): Promise<void> {
    const full = this.nameOf(name, snapshot);
    if (!(await this.snapshots(name)).includes(snapshot)) return;
    await this.change(`cannot remove snapshot ${full}`, "destroy", full);
  }

  async snapshots(name: string): Promise<string[]> {
    const full = this.nameOf(name);
    const answer = await this.zfs("list", "-H", "-o", "name", "-t", "snapshot", "-d", "1", full);
    const why = complaintOf(answer);
    if (answer.exitCode !== 0) {
      // neither have volumes that are gone
      if (why.endsWith(": dataset does not exist")) return [];
      throw storageFailed("VOLUME_UNREADABLE", `cannot list the snapshots of volume ${full}`, why);
    }
    return answer.stdout
      .split("\n")
      .map((line) => line.slice(full.length + 1))
      .filter(isSnapshotName)
      .sort();
  }

  /** Idempotent: what a killed call has begun is finished. */
  async makeTemplate(name: string, to: string): Promise<void> {
    const what = `cannot make volume ${this.nameOf(name)} a template`;
    const names = await this.base.list();
    if (names.includes(name) || !names.includes(to)) {
      const snapshots = await this.snapshots(name);
      if (snapshots.length > 0)
        throw storageFailed("VOLUME_BUSY", what, `it has snapshots: ${snapshots.join(", ")}`);
      await this.base.rename(name, to);
    }
    if (!(await this.snapshots(to)).includes(BASE_SNAPSHOT)) await this.snapshot(to, BASE_SNAPSHOT);
    await this.change(what, "set", "readonly=on", this.nameOf(to));
  }

  async clone(name: string, snapshot: string | undefined, to: string): Promise<void> {
    const [from, full] = [this.nameOf(name, snapshot ?? BASE_SNAPSHOT), this.nameOf(to)];
    // as our own volumes: what it inherits does not hide its device
    const options = ["-o", "volmode=dev"];
    await this.change(`cannot make volume ${full} as a clone of ${from}`, "clone", ...options, from, full);
  }

  private async change(what: string, ...args: readonly string[]): Promise<void> {
    const answer = await this.zfs(...args);
    if (answer.exitCode === 0) return;
    const why = complaintOf(answer);
    throw storageFailed(codeFor(answer.stderr), what, why);
  }

  private zfs(...args: readonly string[]): Promise<CommandResult> {
    // its one exit code for whatever it could not do
    return this.ports.runner.run({ tool: "zfs", args, answers: [1], timeout: TIMEOUT });
  }

  /** @throws REQUEST_INVALID */
  private nameOf(name: string, snapshot?: string): string {
    if (snapshot === undefined) return `${this.base.dataset}/${name}`;
    requireSnapshotName(snapshot);
    return `${this.base.dataset}/${name}@${snapshot}`;
  }
}

function complaintOf({ stderr, exitCode }: CommandResult): string {
  // what could be done about it comes after the first line: "use '-r' to force deletion …"
  return stderr.trim().split("\n")[0] || `zfs ended with exit code ${exitCode} and said nothing`;
}

function codeFor(stderr: string) {
  if (/dataset already exists/.test(stderr)) return "VOLUME_EXISTS";
  if (/does not exist|could not find any snapshots/.test(stderr)) return "VOLUME_NOT_FOUND";
  if (/is busy|has dependent clones|has children|more recent snapshots/.test(stderr)) return "VOLUME_BUSY";
  return "VOLUME_WRITE_FAILED";
}
