import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { lvm, POOL, VolumeGroup } from "./volume-group.js";

const MIB = 1024 * 1024;

test("has volumes, and a thin pool with thin volumes", () => {
  using group = new VolumeGroup({ thinPool: 64 * MIB });

  const path = group.create("thick", 10 * MIB);
  const thin = group.createThin("thin", 1024 * MIB);

  expect(existsSync(path) && existsSync(thin)).toBe(true);
  expect(group.field("thick", "lv_size,segtype")).toBe(`${12 * MIB} linear`);
  expect(group.field("thin", "lv_size,segtype,pool_lv")).toBe(`${1024 * MIB} thin ${POOL}`);
});

test("leaves nothing behind", () => {
  let path: string;
  {
    using group = new VolumeGroup({ thinPool: 64 * MIB });
    path = group.createThin("thin", 64 * MIB);
  }

  expect(existsSync(path)).toBe(false);
  expect(lvm("vgs", "--noheadings")).toBe("");
  expect(lvm("lvs", "--noheadings")).toBe("");
});
