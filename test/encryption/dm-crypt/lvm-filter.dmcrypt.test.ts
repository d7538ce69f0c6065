import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { lvm } from "../../lab/volume-group.js";
import { mapper, MappingLab } from "./mapping-lab.js";

const CONFIGURATION = "/etc/lvm/lvm.conf";
const LINKS = "/dev/luksmith-links";

let lab: MappingLab;
let before: string;
beforeEach(() => {
  lab = new MappingLab();
  before = readFileSync(CONFIGURATION, "utf8");
  mkdirSync(LINKS);
});
afterEach(() => {
  writeFileSync(CONFIGURATION, before);
  rmSync(LINKS, { recursive: true });
  lab[Symbol.dispose]();
});

/** Whether LVM finds the physical volume that a guest has made of its disk, as `settings` of devices say. */
function isFound(name: string, settings = ""): boolean {
  writeFileSync(CONFIGURATION, `${before}\ndevices { ${settings} }\n`);
  return execFileSync("pvs", ["--noheadings", "-o", "pv_name"], { encoding: "utf8" }).includes(name);
}

it.each([
  ["luks", undefined],
  ["plain", "vm1-dmcrypt"],
] as const)("docs/engines.md: this filter keeps LVM off a mapping of %s", async (format, legacyName) => {
  const [, list = ""] = /global_filter = \[ (.*) \]/.exec(readFileSync("docs/engines.md", "utf8")) ?? [];
  const request = lab.make("block", format, legacyName === undefined ? {} : { name: legacyName });
  await lab.open(request);
  const name = mapper(request.name);
  lvm("pvcreate", "--quiet", name);
  // as udev makes links to it
  symlinkSync(name, `${LINKS}/dm-name-${request.name}`);

  expect(isFound(request.name)).toBe(true);
  expect(isFound(request.name, `global_filter = [ ${list} ]`)).toBe(false);
  // which is why the page leaves that out
  expect(isFound(request.name, `global_filter = [ ${list}, "a|.*|" ]`)).toBe(true);
  await lab.mappings.close(request.name);
});
