import { afterAll, beforeAll } from "vitest";
import { baseStorageContract } from "../../../contract/base-storage.contract.js";
import { type CephCluster, startCephCluster } from "../../../lab/ceph-cluster.js";
import { BridgeWorkshop } from "../bridge/bridge-workshop.js";

let cluster: CephCluster;
beforeAll(async () => {
  cluster = await startCephCluster();
});
afterAll(() => cluster.stop());

baseStorageContract(() => {
  const { conf } = cluster;
  return { workshop: new BridgeWorkshop({ type: "rbd", pool: "rbd", conf }), extent: 512 };
});
