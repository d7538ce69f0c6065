import { LuksmithError } from "../../../error/luksmith-error.js";
import type { CloneStorage, SnapshotStorage } from "../base/base-storage.js";
import type { AnyBase, BasePorts } from "../base/index.js";
import { LvmThinSnapshots } from "./lvm-thin-snapshots.js";
import { RbdSnapshots } from "./rbd-snapshots.js";
import { ZfsSnapshots } from "./zfs-snapshots.js";

/** What the base can do with snapshots; undefined where it makes none. */
export function snapshotsOf(base: AnyBase, ports: BasePorts): (SnapshotStorage & CloneStorage) | undefined {
  switch (base.type) {
    case "lvm-thin":
      return new LvmThinSnapshots(base, ports);
    case "rbd":
      return new RbdSnapshots(base, ports);
    case "zfs":
      return new ZfsSnapshots(base, ports);
    case "directory":
    case "lvm":
      return undefined;
  }
}

/** @throws VOLUME_UNSUPPORTED, naming the bases that make snapshots */
export function requireSnapshots(base: AnyBase, ports: BasePorts): SnapshotStorage {
  const storage = snapshotsOf(base, ports);
  if (storage !== undefined) return storage;
  throw unsupported(base, "snapshots", "put the disk on a storage with such a base: qm disk move");
}

/** @throws VOLUME_UNSUPPORTED, naming the bases that make linked clones */
export function requireClones(base: AnyBase, ports: BasePorts): CloneStorage {
  const storage = snapshotsOf(base, ports);
  if (storage !== undefined) return storage;
  throw unsupported(base, "linked clones", "make a full clone: qm clone VMID NEWID --full");
}

function unsupported({ type }: AnyBase, wanted: string, hint: string): LuksmithError {
  return new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `this storage makes no ${wanted}`,
    why: `its base is of type ${type}; lvm-thin, zfs and rbd make them`,
    hint,
  });
}
