import {
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { baseStorageContract } from "../../../contract/base-storage.contract.js";
import { codeOf, MIB } from "../../../storage/workshop.js";
import { BridgeWorkshop } from "../bridge/bridge-workshop.js";

baseStorageContract(() => ({ workshop: new BridgeWorkshop(), extent: 512 }));

describe("a directory", () => {
  let workshop: BridgeWorkshop;
  beforeEach(() => {
    workshop = new BridgeWorkshop();
  });
  afterEach(() => workshop[Symbol.dispose]());
  const path = (name: string) => join(workshop.directory, name);

  it("has one file for each volume, which only root can read", async () => {
    await workshop.create();
    expect(readdirSync(workshop.directory)).toEqual([".luksmith-base", "vm-100-disk-0.luks"]);
    expect(statSync(path("vm-100-disk-0.luks")).mode & 0o7777).toBe(0o600);
  });

  it("lists volumes, and nothing else that lies there", async () => {
    for (const name of ["vm-1-disk-0.luks", "vm-100-disk-0", "x.luks", "vm-100-a\nb.luks", "vm-100-..luks"])
      writeFileSync(path(name), "");
    mkdirSync(path("vm-100-disk-1.luks"));
    symlinkSync("/etc/passwd", path("vm-100-disk-2.luks"));
    writeFileSync(path("vm-100-disk-3.luks"), "");
    expect(await workshop.base.list()).toEqual(["vm-100-disk-3"]);
  });

  it("follows no symbolic link, and changes nothing where it leads", async () => {
    const target = join(workshop.root, "target");
    writeFileSync(target, Buffer.alloc(4 * MIB, 7), { mode: 0o600 });
    symlinkSync(target, path("vm-100-disk-0.luks"));
    for (const request of [
      () => workshop.ask({ op: "size" }),
      () => workshop.free(),
      () => workshop.provide(),
      () => workshop.ask({ op: "resize", size: 64 * MIB, running: false }),
      () => workshop.ask({ op: "rename", to: "vm-101-disk-0", vmid: 101 }),
      () => workshop.base.remove("vm-100-disk-0"),
    ])
      expect(await codeOf(request())).toBe("VOLUME_UNREADABLE");
    expect(await codeOf(workshop.create())).toBe("VOLUME_EXISTS");
    expect(readFileSync(target).equals(Buffer.alloc(4 * MIB, 7))).toBe(true);
    expect(readdirSync(workshop.directory)).toEqual(["vm-100-disk-0.luks"]);
  });

  it("destroys the header of a volume that it removes, whoever holds the blocks", async () => {
    await workshop.create();
    const kept = join(workshop.root, "kept");
    linkSync(path("vm-100-disk-0.luks"), kept);
    await workshop.free();
    expect(
      readFileSync(kept)
        .subarray(0, 2 * MIB)
        .equals(Buffer.alloc(2 * MIB)),
    ).toBe(true);
  });

  it("that is not there makes no volume, keeps no key and lists nothing", async () => {
    using missing = new BridgeWorkshop({ type: "directory", path: join(workshop.root, "missing") });
    expect(await codeOf(missing.create())).toBe("VOLUME_ALLOCATE_FAILED");
    expect(await missing.keys()).toEqual([]);
    expect(await codeOf(missing.base.list())).toBe("VOLUME_UNREADABLE");
  });

  it("has no snapshots", () => {
    expect(() => workshop.base.volume("vm-100-disk-0", "one")).toThrow(/no snapshots/);
  });
});
