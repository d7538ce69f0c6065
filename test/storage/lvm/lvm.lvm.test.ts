import { afterAll, beforeAll } from "vitest";
import { storageBackendContract } from "../../contract/storage-backend.contract.js";
import { VolumeGroup } from "../../lab/volume-group.js";
import { LvmWorkshop } from "./lvm-workshop.js";

let group: VolumeGroup;
beforeAll(() => {
  group = new VolumeGroup({ name: "luksmith-x+y.z" });
});
afterAll(() => group[Symbol.dispose]());

storageBackendContract("lvm", () => new LvmWorkshop(group, "lvm"), {
  allocates: "allocates",
  formats: ["luks", "luksv2", "plain"],
});
