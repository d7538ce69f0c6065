import { closeSync, fsyncSync, openSync, readSync, writeFileSync, writeSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LuksmithError } from "../../../../src/error/luksmith-error.js";
import { lvm, POOL, VolumeGroup } from "../../../lab/volume-group.js";
import { codeOf, MIB, run } from "../../../storage/workshop.js";
import { BridgeWorkshop } from "../bridge/bridge-workshop.js";

let group: VolumeGroup;
beforeAll(() => {
  group = new VolumeGroup({ size: 96 * MIB, thinPool: 48 * MIB });
});
afterAll(() => group[Symbol.dispose]());

/** Whether the text stands anywhere on the physical volume; the machine has no memory for all of it at once. */
function deviceHas(text: string): boolean {
  // what the kernel remembers of the device is older than what was written through the volume
  run("blockdev", ["--flushbufs", group.device]);
  const fd = openSync(group.device, "r");
  try {
    const bytes = Buffer.alloc(MIB + 64);
    for (let at = 0; readSync(fd, bytes, 0, bytes.length, at) > 0; at += MIB)
      if (bytes.includes(text)) return true;
    return false;
  } finally {
    closeSync(fd);
  }
}

describe("lvm:", () => {
  it("the header of a volume that is removed is not left in the group's extents", async () => {
    using workshop = new BridgeWorkshop({ type: "lvm", vg: group.name });
    const { uuid = "" } = await workshop.create();
    const isThere = () => deviceHas(uuid);
    expect(isThere()).toBe(true);
    await workshop.free();
    expect(isThere()).toBe(false);
  });
});

describe("lvm, made and encrypted at once:", () => {
  /** Bytes that commands were told to overwrite, and the engine's own writes are of a header. */
  const zeroed = (workshop: BridgeWorkshop) =>
    workshop.runner.lines.flatMap((line) => {
      const length = /^blkdiscard --zeroout --offset \d+ --length (\d+) /.exec(line)?.[1];
      return length === undefined ? [] : [Number(length)];
    });
  const sum = (numbers: readonly number[]) => numbers.reduce((all, one) => all + one, 0);
  /** What the volumes of others have left. */
  const soil = () => {
    const path = group.create("soil", 36 * MIB);
    writeFileSync(path, Buffer.alloc(36 * MIB, 0x5a), { flag: "r+", flush: true });
    lvm("lvremove", "--quiet", "--yes", `${group.name}/soil`);
  };
  const names = () => lvm("lvs", "--noheadings", "-o", "lv_name", group.name).trim().split(/\s+/);

  it("has its header and its size over old data, of which only the ends are overwritten", async () => {
    using workshop = new BridgeWorkshop({ type: "lvm", vg: group.name });
    soil();
    const small = await workshop.create("vm-100-disk-0", 8 * MIB);
    const bytes = sum(zeroed(workshop));
    expect(bytes).toBe(3 * MIB);
    await workshop.free();
    soil();
    const { uuid } = await workshop.create("vm-100-disk-1", 24 * MIB + 1);
    expect(sum(zeroed(workshop))).toBe(2 * bytes);
    expect(small.size).toBeGreaterThanOrEqual(8 * MIB);
    const made = await workshop.ask({ op: "size", volume: "vm-100-disk-1" });
    expect(made).toMatchObject({ uuid });
    expect((made.size ?? 0) % 4096).toBe(0);
    expect(made.size).toBeGreaterThan(24 * MIB);
    expect(workshop.runner.count("lvcreate")).toBe(2);
    expect(deviceHas("Z".repeat(64))).toBe(true);
    await workshop.provide("vm-100-disk-1");
    await workshop.free("vm-100-disk-1");
  });

  it("is not made over a name that is taken, and the key goes again", async () => {
    using workshop = new BridgeWorkshop({ type: "lvm", vg: group.name });
    const { uuid } = await workshop.create();
    expect(await codeOf(workshop.create())).toBe("VOLUME_EXISTS");
    expect(await workshop.keys()).toMatchObject([{ uuid, state: "active" }]);
    expect(await workshop.ask({ op: "size" })).toMatchObject({ uuid });
    await workshop.free();
  });

  it.each(["blkdiscard", "cryptsetup", "lvrename"])("that fails at %s leaves nothing", async (failing) => {
    using workshop = new BridgeWorkshop({ type: "lvm", vg: group.name });
    workshop.runner.before = ({ tool }) => {
      if (tool === failing) throw new LuksmithError("TOOL_FAILED", { what: "it failed", why: "no memory" });
    };
    expect(await codeOf(workshop.create())).toBe("VOLUME_ALLOCATE_FAILED");
    expect(names()).toEqual([POOL]);
    expect(await workshop.keys()).toEqual([]);
  });

  it("that cannot be removed again keeps the key that its header has", async () => {
    using workshop = new BridgeWorkshop({ type: "lvm", vg: group.name });
    let renamed = false;
    workshop.runner.before = ({ tool }) => {
      if (tool === "lvrename") renamed = true;
      // the header stands, and the name is given
      else if (renamed) throw new LuksmithError("TOOL_FAILED", { what: "it failed", why: "no memory" });
    };
    await expect(workshop.create()).rejects.toThrow();
    workshop.runner.before = () => undefined;
    const { uuid } = await workshop.ask({ op: "size" });
    expect(await workshop.keys()).toMatchObject([{ uuid }]);
    await workshop.free();
    expect(names()).toEqual([POOL]);
  });

  it("has no name before its header stands, and the next try removes what a kill has left", async () => {
    using workshop = new BridgeWorkshop({ type: "lvm", vg: group.name });
    let killed = false;
    workshop.runner.before = ({ tool }) => {
      killed ||= tool === "lvrename";
      if (killed) throw new Error("killed");
    };
    await expect(workshop.create()).rejects.toThrow();
    workshop.runner.before = () => undefined;
    expect(names()).toHaveLength(2);
    expect(await workshop.base.list()).toEqual([]);
    const { uuid } = await workshop.create();
    expect(names().sort()).toEqual([POOL, "vm-100-disk-0"]);
    expect(group.field("vm-100-disk-0", "lv_tags")).toBe("");
    expect(await workshop.ask({ op: "size" })).toMatchObject({ uuid });
    await workshop.free();
  });

  it("is refused where its ends are not zeros, and holds what it held", async () => {
    using workshop = new BridgeWorkshop({ type: "lvm", vg: group.name });
    const written = Buffer.alloc(512, 0x5a);
    for (const at of ["start", "end"]) {
      let seen = 0;
      workshop.runner.before = ({ tool }) => {
        if (tool === "blkdiscard") seen++;
      };
      const { runner } = workshop;
      const run = runner.run.bind(runner);
      runner.run = async (command) => {
        const result = await run(command);
        // after both ends were overwritten
        if (command.tool === "blkdiscard" && seen === 2) {
          const [name = ""] = names().filter((other) => other.startsWith("luksmith-unfinished-"));
          const fd = openSync(group.path(name), "r+");
          const size = Number(group.field(name, "lv_size"));
          writeSync(fd, written, 0, 512, at === "start" ? MIB : size - 512);
          fsyncSync(fd);
          closeSync(fd);
        }
        return result;
      };
      expect(await codeOf(workshop.create()), at).toBe("VOLUME_ALLOCATE_FAILED");
      runner.run = run;
      expect(workshop.runner.count("cryptsetup"), at).toBe(0);
      expect(names(), at).toEqual([POOL]);
    }
  });
});

describe("lvm-thin:", () => {
  it("a volume with a clone stays, and the clone goes without its header being touched", async () => {
    using workshop = new BridgeWorkshop({ type: "lvm-thin", vg: group.name, thinpool: POOL });
    const { uuid } = await workshop.create("base-100-disk-0");
    const clone = ["--snapshot", "--name", "vm-101-disk-0", `${group.name}/base-100-disk-0`];
    lvm("lvcreate", "--quiet", ...clone);
    expect(await codeOf(workshop.free("base-100-disk-0"))).toBe("VOLUME_BUSY");
    expect(await workshop.ask({ op: "size", volume: "vm-101-disk-0" })).toMatchObject({ uuid });
    // as where a backup brings back what was destroyed, which is used again
    const [record] = await workshop.keys();
    if (record === undefined) throw new Error("there is no key");
    await workshop.local.update({ ...record, freedAt: "2025-01-01T00:00:00Z", freedBy: "pve1" });
    await workshop.ask({ op: "clone", volume: "base-100-disk-0", to: "vm-102-disk-0", vmid: 102 });
    expect(await workshop.keys()).toEqual([record]);
    await workshop.free("vm-102-disk-0");
    await workshop.free("vm-101-disk-0");
    expect(await workshop.keys()).toMatchObject([{ uuid, state: "active" }]);
    expect((await workshop.keys())[0]?.freedAt).toBeUndefined();
    expect(await workshop.ask({ op: "size", volume: "base-100-disk-0" })).toMatchObject({ uuid });
    await workshop.free("base-100-disk-0");
    expect((await workshop.keys())[0]?.freedAt).toBeDefined();
    expect(await workshop.base.list()).toEqual([]);
  });
});
