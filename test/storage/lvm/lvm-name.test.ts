import fc from "fast-check";
import { expect, it } from "vitest";
import { fullName, lvNameOf, mapperName, parseMapperName } from "../../../src/storage/lvm/lvm-name.js";

it.each([
  ["/dev/vg/lv", "vg/lv"],
  ["/dev/vg-1/a--b", "vg-1/a--b"],
  ["/dev/mapper/vg-lv", "vg/lv"],
  ["/dev/mapper/vg--1-a----b", "vg-1/a--b"],
  // the dash of a volume group's own stands before the one between
  ["/dev/mapper/vg---lv", "vg-/lv"],
  ["/dev/+._x/...", "+._x/..."],
])("%s is the path of %s", (path, name) => {
  const lv = lvNameOf(path);
  expect(lv && fullName(lv)).toBe(name);
});

it.each([
  "/dev/sda",
  "/dev/dm-0",
  "/dev/mapper/mpatha",
  "/dev/mapper/vg-lv-real",
  "/dev/mapper/-lv",
  "/dev/mapper/vg-",
  "/dev/disk/by-id/dm-name-vg-lv",
  "/dev/vg/-lv",
  "/dev/-vg/lv",
  "/dev/vg/..",
  "/dev/./lv",
  "/dev/vg/lv/",
  "/dev/vg//lv",
  "/dev/vg/l v",
  "/dev/vg/lv\n",
  "/dev/vg/lv;x",
  "/dev/vg/\u00fc",
  `/dev/vg/${"n".repeat(128)}`,
  "/srv/vg/lv",
  "dev/vg/lv",
])("%j is no path of a logical volume", (path) => {
  expect(lvNameOf(path)).toBeUndefined();
});

it("finds the names in every name that device-mapper is given for them", () => {
  const name = fc
    .stringMatching(/^[a-zA-Z0-9+_.][a-zA-Z0-9+_.-]{0,60}$/)
    .filter((text) => text !== "." && text !== "..");
  fc.assert(
    fc.property(name, name, (group, volume) => {
      expect(parseMapperName(mapperName({ group, volume }))).toEqual({ group, volume });
    }),
  );
});
