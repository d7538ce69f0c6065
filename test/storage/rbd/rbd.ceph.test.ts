import { afterAll, beforeAll } from "vitest";
import { storageBackendContract } from "../../contract/storage-backend.contract.js";
import { type CephCluster, startCephCluster } from "../../lab/ceph-cluster.js";
import { RbdWorkshop } from "./rbd-workshop.js";

let cluster: CephCluster;
beforeAll(async () => {
  cluster = await startCephCluster();
});
afterAll(() => cluster.stop());

storageBackendContract("rbd", () => RbdWorkshop.make(cluster), { allocates: "allocates", formats: ["luks"] });
