import type { SnapshotRequest } from "../../../generated/bridge-request.js";
import { baseOf } from "../base/index.js";
import { requireSnapshots } from "../snapshot/index.js";
import { closeExports } from "./exports.js";
import type { BridgeResources, BridgeResult } from "./resources.js";

/** @throws VOLUME_UNSUPPORTED, and as `SnapshotStorage` */
export async function snapshot(request: SnapshotRequest, resources: BridgeResources): Promise<BridgeResult> {
  const { op, storage, volume, snapshot: name } = request;
  const snapshots = requireSnapshots(baseOf(storage, resources), resources);
  switch (op) {
    case "snapshot":
      await snapshots.snapshot(volume, name);
      return {};
    case "rollback":
      // what it shows would be another volume
      await closeExports(request, resources);
      await snapshots.rollback(volume, name);
      return {};
    case "delete-snapshot":
      await closeExports(request, resources, name);
      await snapshots.deleteSnapshot(volume, name);
      return {};
  }
}
