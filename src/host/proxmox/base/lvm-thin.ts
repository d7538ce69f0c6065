import { LuksmithError } from "../../../error/luksmith-error.js";
import type { LvmThinBase as Place } from "../../../generated/proxmox-storage.js";
import { blockDeviceAt, mappedDevice } from "../../../storage/lvm/lvm-device.js";
import type { LvEntry } from "../../../storage/lvm/lvm-report.js";
import { thinPoolTrouble } from "../../../storage/lvm/thin-pool.js";
import { isSnapshotName } from "../snapshot/snapshot-name.js";
import type { BasePorts } from "./index.js";
import { LvBase } from "./lv-base.js";

/** Logical volumes that get blocks of a thin pool as they are written. */
export class LvmThinBase extends LvBase {
  readonly type = "lvm-thin";
  /** The thin pool's name. */
  readonly pool: string;

  constructor({ vg, thinpool }: Pick<Place, "vg" | "thinpool">, ports: BasePorts) {
    super(vg, ports);
    this.pool = thinpool;
  }

  protected takes({ pool }: LvEntry): boolean {
    return pool === this.pool;
  }

  /** As Proxmox VE's own thin storage calls them. */
  override snapshotName(name: string, snapshot: string): string {
    return `snap_${name}_${snapshot}`;
  }

  /** Of a volume, there or not. */
  async snapshotsOf(name: string): Promise<string[]> {
    const all = (await this.all()).filter((lv) => this.takes(lv)).map((lv) => lv.name);
    // volumes have dashes and underscores in their names too: the longest name that fits has the snapshot
    const longer = all.filter((other) => other.startsWith(`${name}_`));
    const prefixes = longer.map((other) => this.snapshotName(other, ""));
    const prefix = this.snapshotName(name, "");
    return all
      .filter((lv) => lv.startsWith(prefix) && !prefixes.some((other) => lv.startsWith(other)))
      .map((lv) => lv.slice(prefix.length))
      .filter(isSnapshotName)
      .sort();
  }

  /** The name of a volume whose rollback was cut short is its own: the next rollback makes it again. */
  override async requireFree(name: string): Promise<void> {
    const snapshots = await this.snapshotsOf(name);
    if (snapshots.length === 0) return;
    const { path } = this.volume(name);
    throw new LuksmithError("VOLUME_EXISTS", {
      what: `cannot make volume ${path}`,
      why: `snapshots of a volume of this name are there (${snapshots.join(", ")}): its rollback was cut short`,
      hint: "roll it back once more, or choose another name",
    });
  }

  /** Blocks that another volume has had in common need new ones to be written, for which a full pool waits. */
  protected async canErase({ name, origin }: LvEntry): Promise<boolean> {
    if (origin !== "") return false;
    const device = mappedDevice(await blockDeviceAt(this.volume(name).path));
    if (device?.lvm?.kind !== "thin") return false;
    return (await thinPoolTrouble(this.ports.runner, device.lvm.pool)) === undefined;
  }
}
