import { afterAll, beforeAll } from "vitest";
import { storageBackendContract } from "../../contract/storage-backend.contract.js";
import { FakeZfs, ZvolWorkshop } from "./zvol-workshop.js";

let zfs: FakeZfs;
beforeAll(() => {
  zfs = new FakeZfs();
});
afterAll(() => zfs[Symbol.dispose]());

storageBackendContract("zfs (no ZFS: a fake tool)", () => new ZvolWorkshop(zfs), {
  allocates: "allocates",
  formats: ["luks", "luksv2"],
  // the block backend shows the rest: once a zvol is there, the same lines make and change its header
  tried: [],
});
