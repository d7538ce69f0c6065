import { execFileSync } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { BaseStorage } from "../../../../src/host/proxmox/base/base-storage.js";
import { until } from "../../../lab/guarded-daemon.js";
import { codeOf, MIB } from "../../../storage/workshop.js";
import { lvm, POOL, VolumeGroup } from "../../../lab/volume-group.js";
import { ExportWorkshop, readBytes, writeBytes } from "../export/export-workshop.js";

const NAME = "vm-100-disk-0";
const TEMPLATE = "base-100-disk-0";

let group: VolumeGroup;
beforeAll(() => {
  execFileSync("modprobe", ["-d", "/run/modules", "fuse"]);
  group = new VolumeGroup({ thinPool: 64 * MIB });
});
afterAll(() => group[Symbol.dispose]());

let workshop: ExportWorkshop;
beforeEach(() => {
  workshop = new ExportWorkshop({ type: "lvm-thin", vg: group.name, thinpool: POOL });
});
afterEach(async () => {
  await workshop[Symbol.asyncDispose]();
  for (const name of volumes()) lvm("lvremove", "--quiet", "--yes", `${group.name}/${name}`);
});

/** Of the group, without its pool. */
function volumes(): string[] {
  const names = lvm("lvs", "--noheadings", "-o", "lv_name", group.name).split("\n");
  return names.map((name) => name.trim()).filter((name) => name !== "" && name !== POOL);
}

describe("a snapshot of a thin volume", () => {
  it("keeps what the volume held, opens with its key, and can be read only", async () => {
    await workshop.make(NAME);
    await workshop.fill(NAME, 0x11);
    await workshop.snapshots.snapshot(NAME, "one");
    expect(group.field(`snap_${NAME}_one`, "lv_active")).toBe("");
    expect(group.field(`snap_${NAME}_one`, "lv_permissions")).toBe("read-only");
    await workshop.fill(NAME, 0x22);
    expect(await workshop.first(NAME, "one")).toBe(0x11);
    expect(await workshop.first(NAME)).toBe(0x22);
    const path = await workshop.open(NAME, "one");
    expect(path).toMatch(/vm-100-disk-0@one\.img$/);
    expect(() => writeBytes(path, 0, Buffer.alloc(1))).toThrow(/EACCES|EROFS|EPERM/);
    await workshop.close(NAME, "one");
    expect(await workshop.base.list()).toEqual([NAME]);
  });

  it("is made while the volume is in use", async () => {
    await workshop.make(NAME);
    const path = await workshop.open(NAME);
    writeBytes(path, 0, Buffer.alloc(4096, 0x11));
    await workshop.snapshots.snapshot(NAME, "one");
    writeBytes(path, 0, Buffer.alloc(4096, 0x22));
    expect(readBytes(await workshop.open(NAME, "one"), 0, 1)[0]).toBe(0x11);
    expect(await codeOf(workshop.snapshots.deleteSnapshot(NAME, "one"))).toBe("VOLUME_BUSY");
    await workshop.close(NAME, "one");
  });

  it("is listed under its volume, and under no other", async () => {
    await workshop.make(NAME);
    await workshop.make(`${NAME}_x`);
    await workshop.snapshots.snapshot(NAME, "a");
    await workshop.snapshots.snapshot(NAME, "b_2");
    await workshop.snapshots.snapshot(`${NAME}_x`, "y");
    expect(await workshop.snapshots.snapshots(NAME)).toEqual(["a", "b_2"]);
    expect(await workshop.snapshots.snapshots(`${NAME}_x`)).toEqual(["y"]);
    await workshop.snapshots.deleteSnapshot(NAME, "a");
    await workshop.snapshots.deleteSnapshot(NAME, "a");
    expect(await workshop.snapshots.snapshots(NAME)).toEqual(["b_2"]);
  });

  it("is refused under a name that is taken, or is none, or of a volume that is not there", async () => {
    await workshop.make(NAME);
    await workshop.snapshots.snapshot(NAME, "one");
    expect(await codeOf(workshop.snapshots.snapshot(NAME, "one"))).toBe("VOLUME_EXISTS");
    expect(await codeOf(workshop.snapshots.snapshot(NAME, "-one"))).toBe("REQUEST_INVALID");
    expect(await codeOf(workshop.snapshots.snapshot("vm-100-disk-9", "one"))).toBe("VOLUME_NOT_FOUND");
    expect(volumes()).toEqual([`snap_${NAME}_one`, NAME].sort());
  });
});

describe("rollback of a thin volume", () => {
  beforeEach(async () => {
    await workshop.make(NAME);
    await workshop.fill(NAME, 0x11);
    await workshop.snapshots.snapshot(NAME, "one");
    await workshop.fill(NAME, 0x22);
  });

  it("brings back what it held, and the snapshot stays", async () => {
    await workshop.snapshots.rollback(NAME, "one");
    expect(await workshop.first(NAME)).toBe(0x11);
    await workshop.fill(NAME, 0x33);
    await workshop.snapshots.rollback(NAME, "one");
    expect(await workshop.first(NAME)).toBe(0x11);
    expect(volumes().sort()).toEqual([`snap_${NAME}_one`, NAME].sort());
  });

  it("is refused while the volume is in use, and changes nothing", async () => {
    const path = await workshop.open(NAME);
    expect(await codeOf(workshop.snapshots.rollback(NAME, "one"))).toBe("VOLUME_BUSY");
    expect(readBytes(path, 0, 1)[0]).toBe(0x22);
    await workshop.close(NAME);
    const fd = openSync(group.path(NAME), "r");
    expect(await codeOf(workshop.snapshots.rollback(NAME, "one"))).toBe("VOLUME_BUSY");
    closeSync(fd);
    expect(await workshop.first(NAME)).toBe(0x22);
    expect(volumes().sort()).toEqual([`snap_${NAME}_one`, NAME].sort());
  });

  it("to a snapshot that is not there changes nothing", async () => {
    expect(await codeOf(workshop.snapshots.rollback(NAME, "two"))).toBe("VOLUME_NOT_FOUND");
    expect(await workshop.first(NAME)).toBe(0x22);
  });

  it("ended before any of its commands loses nothing, and the next one finishes it", async () => {
    let endings = 0;
    for (let nth = 1; ; nth++) {
      let steps = 0;
      workshop.runner.before = () => {
        // from then on this process does nothing more, as one that was killed
        if (++steps >= nth) throw new Error("killed");
      };
      const ending = await workshop.snapshots.rollback(NAME, "one").then(
        () => "done",
        () => "killed",
      );
      workshop.runner.before = () => undefined;
      // without the volume, the snapshot has what it was to be, and nobody else gets the name
      if (!volumes().includes(NAME)) {
        expect(await workshop.first(NAME, "one")).toBe(0x11);
        expect(await codeOf((workshop.base as BaseStorage).requireFree!(NAME))).toBe("VOLUME_EXISTS");
      }
      await workshop.snapshots.rollback(NAME, "one");
      expect(await workshop.first(NAME)).toBe(0x11);
      expect(volumes().sort()).toEqual([`snap_${NAME}_one`, NAME].sort());
      await workshop.fill(NAME, 0x22);
      if (ending === "done") break;
      endings++;
    }
    expect(endings).toBeGreaterThan(5);
  }, 300_000);
});

describe("a template of a thin volume", () => {
  it("has clones that open with its key, and is not removed before them", async () => {
    const uuid = await workshop.make(NAME);
    await workshop.fill(NAME, 0x11);
    await workshop.snapshots.makeTemplate(NAME, TEMPLATE);
    expect(volumes()).toEqual([TEMPLATE]);
    expect(group.field(TEMPLATE, "lv_permissions")).toBe("read-only");
    expect(await workshop.first(TEMPLATE)).toBe(0x11);
    await workshop.snapshots.clone(TEMPLATE, undefined, "vm-101-disk-0");
    await workshop.fill("vm-101-disk-0", 0x22);
    expect(await workshop.first("vm-101-disk-0")).toBe(0x22);
    expect(await workshop.first(TEMPLATE)).toBe(0x11);
    const { backendOf } = await import("../../../../src/host/proxmox/bridge/opened-volume.js");
    const backend = backendOf(workshop.base, workshop.registry);
    const probe = await backend.probe(workshop.base.volume("vm-101-disk-0"), "header");
    expect(probe).toMatchObject({ kind: "luks", header: { uuid } });
    expect(await codeOf(workshop.base.remove(TEMPLATE))).toBe("VOLUME_BUSY");
    expect(await codeOf(workshop.snapshots.clone(TEMPLATE, undefined, "vm-101-disk-0"))).toBe(
      "VOLUME_EXISTS",
    );
    await workshop.base.remove("vm-101-disk-0");
    expect(await workshop.first(TEMPLATE)).toBe(0x11);
  });

  it("is not removed before a clone that was rolled back, which stays its clone", async () => {
    await workshop.make(NAME);
    await workshop.snapshots.makeTemplate(NAME, TEMPLATE);
    await workshop.snapshots.clone(TEMPLATE, undefined, "vm-101-disk-0");
    await workshop.snapshots.snapshot("vm-101-disk-0", "one");
    await workshop.snapshots.rollback("vm-101-disk-0", "one");
    await workshop.snapshots.rollback("vm-101-disk-0", "one");
    await workshop.base.rename("vm-101-disk-0", "vm-102-disk-0");
    expect(group.field("vm-102-disk-0", "lv_tags")).toBe(`luksmith.template=${TEMPLATE}`);
    expect(await codeOf(workshop.base.remove(TEMPLATE))).toBe("VOLUME_BUSY");
    expect(await codeOf(workshop.base.rename(TEMPLATE, "base-103-disk-0"))).toBe("VOLUME_BUSY");
    await workshop.snapshots.deleteSnapshot("vm-101-disk-0", "one");
    await workshop.base.remove("vm-102-disk-0");
    await workshop.base.remove(TEMPLATE);
    expect(volumes()).toEqual([]);
  });

  it("is finished where its making was ended", async () => {
    await workshop.make(NAME);
    let steps = 0;
    workshop.runner.before = ({ tool }) => {
      if (tool === "lvchange" && ++steps === 1) throw new Error("killed");
    };
    await expect(workshop.snapshots.makeTemplate(NAME, TEMPLATE)).rejects.toThrow();
    workshop.runner.before = () => undefined;
    expect(volumes()).toEqual([TEMPLATE]);
    await workshop.snapshots.makeTemplate(NAME, TEMPLATE);
    expect(group.field(TEMPLATE, "lv_permissions")).toBe("read-only");
  });

  it("is not made of a volume that has snapshots", async () => {
    await workshop.make(NAME);
    await workshop.snapshots.snapshot(NAME, "one");
    expect(await codeOf(workshop.snapshots.makeTemplate(NAME, TEMPLATE))).toBe("VOLUME_BUSY");
    expect(volumes().sort()).toEqual([`snap_${NAME}_one`, NAME].sort());
  });

  it("can be a snapshot, cloned", async () => {
    await workshop.make(NAME);
    await workshop.fill(NAME, 0x11);
    await workshop.snapshots.snapshot(NAME, "one");
    await workshop.fill(NAME, 0x22);
    await workshop.snapshots.clone(NAME, "one", "vm-101-disk-0");
    expect(await workshop.first("vm-101-disk-0")).toBe(0x11);
  });
});

describe("an export of a logical volume", () => {
  it("is refused while another process writes to the device, whatever locks that has", async () => {
    await workshop.make(NAME);
    lvm("lvchange", "--activate", "y", `${group.name}/${NAME}`);
    const pidFile = join(workshop.root, "writer");
    // no child of this process, which would not count
    const writer = `echo $$ >${pidFile}; exec sleep 60 >>${group.path(NAME)}`;
    execFileSync("setsid", ["--fork", "sh", "-c", writer], { stdio: "ignore" });
    await until(
      () =>
        readFileSync(`/proc/${readFileSync(pidFile, "utf8").trim()}/comm`, "utf8").startsWith("sleep") ||
        notYet(),
    );
    try {
      expect(await codeOf(workshop.open(NAME))).toBe("VOLUME_BUSY");
      expect(workshop.left()).toEqual([]);
    } finally {
      process.kill(Number(readFileSync(pidFile, "utf8")), "SIGKILL");
    }
    await until(() => expect(existsSync(`/proc/${readFileSync(pidFile, "utf8").trim()}`)).toBe(false));
    expect(await workshop.open(NAME)).toMatch(/\.img$/);
  });
});

function notYet(): never {
  throw new Error("not yet");
}
