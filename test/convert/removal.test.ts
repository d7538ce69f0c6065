import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { removalOf } from "../../src/convert/removal.js";
import { temporaryDirectory } from "../fs/tree.js";

const LV = { group: "vg", volume: "vm1" };
const OWN_TOOLS = "with its storage's own tools, and after that";

const textOf = (...args: Parameters<typeof removalOf>) => removalOf(...args).join("\n");

test.each([
  ["/dev/vg/vm1", "lvremove /dev/vg/vm1 && luksmith keys delete UUID"],
  ["/dev/disk/by-id/dm-name-x", "lvremove vg/vm1 && luksmith keys delete UUID"],
])("a logical volume that the guest has by %s is removed before its key", (path, command) => {
  expect(textOf(path, LV, "UUID")).toContain(command);
});

test("a file is removed before its key; of a link to one, no command would keep the data and delete the key", () => {
  const directory = temporaryDirectory();
  const [file, link] = [join(directory, "a.img"), join(directory, "link")];
  writeFileSync(file, "");
  symlinkSync(file, link);

  expect(textOf(file, undefined, "UUID")).toContain(`rm ${file} && luksmith keys delete UUID`);
  expect(textOf(link, undefined, "UUID")).toContain(OWN_TOOLS);
  expect(textOf(link, undefined, "UUID")).not.toContain("&&");
});

test("a device that is no logical volume is removed by nobody's command", () => {
  expect(textOf("/dev/disk/by-id/x", undefined, "UUID")).toContain(OWN_TOOLS);
});
