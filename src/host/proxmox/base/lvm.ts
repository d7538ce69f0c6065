import type { LvEntry } from "../../../storage/lvm/lvm-report.js";
import { LvBase } from "./lv-base.js";
import { withoutSnapshots } from "./volume-name.js";

/** Logical volumes that have all of their extents. */
export class LvmBase extends LvBase {
  readonly type = "lvm";

  protected takes({ layout }: LvEntry): boolean {
    return !layout.has("thin") && !layout.has("pool");
  }

  protected snapshotName(name: string): string {
    throw withoutSnapshots(this.type, name);
  }

  protected canErase(): Promise<boolean> {
    return Promise.resolve(true);
  }
}
