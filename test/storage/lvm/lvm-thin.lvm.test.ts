import { afterAll, beforeAll } from "vitest";
import { storageBackendContract } from "../../contract/storage-backend.contract.js";
import { VolumeGroup } from "../../lab/volume-group.js";
import { LvmWorkshop } from "./lvm-workshop.js";

const MIB = 1024 * 1024;

let group: VolumeGroup;
beforeAll(() => {
  group = new VolumeGroup({ thinPool: 128 * MIB });
});
afterAll(() => group[Symbol.dispose]());

storageBackendContract("lvm-thin", () => new LvmWorkshop(group, "lvm-thin"), {
  allocates: "allocates",
  formats: ["luks", "luksv2", "plain"],
  // thick volumes show the rest: once a volume is active, the same lines make and change its header
  tried: ["plain"],
});
