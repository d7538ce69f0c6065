import { readFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { baseStorageContract } from "../../../contract/base-storage.contract.js";
import { lvm, POOL, VolumeGroup } from "../../../lab/volume-group.js";
import { codeOf, MIB } from "../../../storage/workshop.js";
import { BridgeWorkshop } from "../bridge/bridge-workshop.js";

let group: VolumeGroup;
beforeAll(() => {
  group = new VolumeGroup({ thinPool: 64 * MIB });
});
afterAll(() => group[Symbol.dispose]());

const placeOf = (type: "lvm" | "lvm-thin") =>
  type === "lvm" ? { type, vg: group.name } : { type, vg: group.name, thinpool: POOL };

describe.each(["lvm", "lvm-thin"] as const)("%s:", (type) => {
  baseStorageContract(() => ({ workshop: new BridgeWorkshop(placeOf(type)), extent: 4 * MIB }));

  describe("a volume group", () => {
    let workshop: BridgeWorkshop;
    beforeEach(() => {
      workshop = new BridgeWorkshop(placeOf(type));
    });
    afterEach(async () => {
      for (const name of await workshop.base.list()) await workshop.base.remove(name);
      workshop[Symbol.dispose]();
    });

    it("gives the volumes of its base alone", async () => {
      group.create("thick", 4 * MIB);
      group.create("vm-200-disk-0", 4 * MIB);
      group.createThin("vm-200-disk-1", 4 * MIB);
      expect(await workshop.base.list()).toEqual([type === "lvm" ? "vm-200-disk-0" : "vm-200-disk-1"]);
      const other = type === "lvm" ? "vm-200-disk-1" : "vm-200-disk-0";
      expect(await codeOf(workshop.base.remove(other))).toBe("VOLUME_UNREADABLE");
      for (const name of ["thick", "vm-200-disk-0", "vm-200-disk-1"])
        lvm("lvremove", "--quiet", "--yes", `${group.name}/${name}`);
    });

    it("tells the size of a volume that is not active, and leaves it so", async () => {
      const made = await workshop.create();
      lvm("lvchange", "--activate", "n", `${group.name}/vm-100-disk-0`);
      expect(await workshop.ask({ op: "size" })).toEqual(made);
      await workshop.provide();
      expect(group.field("vm-100-disk-0", "lv_active")).toBe("");
      expect(readFileSync(workshop.secret()).length).toBe(88);
      await workshop.free();
      expect(await workshop.base.list()).toEqual([]);
    });

    it("that is not there is told apart from a volume that is gone", async () => {
      using missing = new BridgeWorkshop({ ...placeOf(type), vg: "missing" });
      expect(await codeOf(missing.base.list())).toBe("VOLUME_UNREADABLE");
      expect(await codeOf(missing.base.remove("vm-100-disk-0"))).toBe("VOLUME_UNREADABLE");
      // a thin volume's name is looked up among the group's snapshots first
      const code = type === "lvm" ? "VOLUME_ALLOCATE_FAILED" : "VOLUME_UNREADABLE";
      expect(await codeOf(missing.create())).toBe(code);
      expect(await missing.keys()).toEqual([]);
    });

    it("without room for a volume makes none, and keeps no key", async () => {
      const place = type === "lvm" ? placeOf(type) : { type, vg: group.name, thinpool: "missing" };
      using full = new BridgeWorkshop(place);
      expect(await codeOf(full.create("vm-100-disk-0", 2 ** 40))).toBe("VOLUME_ALLOCATE_FAILED");
      expect(await full.base.list()).toEqual([]);
      expect(await full.keys()).toEqual([]);
    });
  });
});
