import { LuksmithError } from "../../../error/luksmith-error.js";
import { RbdClient } from "../../../storage/rbd/rbd-client.js";
import type { CloneStorage, SnapshotStorage } from "../base/base-storage.js";
import type { BasePorts } from "../base/index.js";
import type { RbdBase } from "../base/rbd.js";
import { storageFailed } from "./snapshot-error.js";
import { BASE_SNAPSHOT, requireSnapshotName } from "./snapshot-name.js";

/**
 * Snapshots of RBD images, which the cluster makes between two writes; what a running guest has not written yet is its
 * own affair, or Proxmox VE's, which freezes the guest's file systems. A snapshot that has clones is protected.
 */
export class RbdSnapshots implements SnapshotStorage, CloneStorage {
  constructor(
    private readonly base: RbdBase,
    private readonly ports: BasePorts,
  ) {}

  async snapshot(name: string, snapshot: string): Promise<void> {
    requireSnapshotName(snapshot);
    const client = this.client(name, snapshot);
    await this.done(client.run("snap", "create", "--no-progress"), `cannot make snapshot ${client.name}`);
  }

  /**
   * The cluster copies the snapshot over the image, object by object. Killed in between, the image is neither, the
   * snapshot is what it was, and the same rollback finishes it.
   */
  async rollback(name: string, snapshot: string): Promise<void> {
    requireSnapshotName(snapshot);
    const what = `cannot bring volume ${this.client(name).name} back to snapshot ${snapshot}`;
    if (!(await this.snapshots(name)).includes(snapshot))
      throw storageFailed("VOLUME_NOT_FOUND", what, "there is no such snapshot");
    await this.base.requireUnused(name);
    await this.done(this.client(name, snapshot).runLong("snap", "rollback", "--no-progress"), what);
  }

  async deleteSnapshot(name: string, snapshot: string): Promise<void> {
    requireSnapshotName(snapshot);
    const client = this.client(name, snapshot);
    const what = `cannot remove snapshot ${client.name}`;
    const found = (await this.listed(name)).find((entry) => entry.name === snapshot);
    if (found === undefined) return;
    if (found.isProtected) await this.done(client.run("snap", "unprotect"), what);
    await this.done(client.runLong("snap", "rm", "--no-progress"), what);
  }

  async snapshots(name: string): Promise<string[]> {
    return (await this.listed(name)).map((entry) => entry.name).sort();
  }

  /** Idempotent: what a killed call has begun is finished. */
  async makeTemplate(name: string, to: string): Promise<void> {
    const what = `cannot make volume ${this.client(name).name} a template`;
    const names = await this.base.list();
    if (names.includes(name) || !names.includes(to)) {
      const snapshots = await this.snapshots(name);
      if (snapshots.length > 0)
        throw storageFailed("VOLUME_BUSY", what, `it has snapshots: ${snapshots.join(", ")}`);
      await this.base.rename(name, to);
    }
    if (!(await this.snapshots(to)).includes(BASE_SNAPSHOT)) await this.snapshot(to, BASE_SNAPSHOT);
    await this.protect(to, BASE_SNAPSHOT, what);
  }

  async clone(name: string, snapshot: string | undefined, to: string): Promise<void> {
    const from = snapshot ?? BASE_SNAPSHOT;
    requireSnapshotName(from);
    const [client, target] = [this.client(name, from), this.base.volume(to)];
    const what = `cannot make volume ${this.client(to).name} as a clone of ${client.name}`;
    await this.protect(name, from, what);
    const { pool, namespace } = target;
    const place = [
      `--dest-pool=${pool}`,
      ...(namespace === undefined ? [] : [`--dest-namespace=${namespace}`]),
    ];
    await this.done(client.run("clone", ...place, `--dest=${to}`), what);
  }

  private async protect(name: string, snapshot: string, what: string): Promise<void> {
    const found = (await this.listed(name)).find((entry) => entry.name === snapshot);
    if (found === undefined)
      throw storageFailed("VOLUME_NOT_FOUND", what, `there is no snapshot ${snapshot}`);
    if (found.isProtected) return;
    await this.done(this.client(name, snapshot).run("snap", "protect"), what);
  }

  /** None of an image that is gone. */
  private async listed(name: string) {
    try {
      return await this.client(name).snapshots();
    } catch (thrown) {
      if (thrown instanceof LuksmithError && thrown.code === "VOLUME_NOT_FOUND") return [];
      throw thrown;
    }
  }

  private async done(work: Promise<void>, what: string): Promise<void> {
    try {
      await work;
    } catch (thrown) {
      if (!(thrown instanceof LuksmithError) || thrown.code !== "TOOL_FAILED") throw thrown;
      const why = thrown.why ?? thrown.message;
      throw storageFailed(codeFor(why), what, why);
    }
  }

  private client(name: string, snapshot?: string): RbdClient {
    const volume = this.base.volume(name, snapshot);
    return new RbdClient(this.ports.runner, volume, { user: "admin", conf: "/etc/ceph/ceph.conf" });
  }
}

/** rbd ends its last line with the errno and its text. */
function codeFor(why: string) {
  if (/\(17\) File exists/.test(why)) return "VOLUME_EXISTS";
  if (/\(2\) No such file/.test(why)) return "VOLUME_NOT_FOUND";
  if (/\(16\) Device or resource busy/.test(why)) return "VOLUME_BUSY";
  return "VOLUME_WRITE_FAILED";
}
