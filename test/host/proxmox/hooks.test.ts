import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { KEYRING } from "../../../src/tokens.js";
import { treeOf } from "../../fs/tree.js";
import { goneStart, ProxmoxWorld, startOf } from "./proxmox-world.js";

const ONE = { name: "web", scsi0: "enc:vm-100-disk-0,size=4M" };

describe("pre-start on Proxmox VE", () => {
  it("gives each encrypted disk a file with its passphrase, for root only, in the directory of the start", async () => {
    const world = new ProxmoxWorld();
    await Promise.all([world.volume("vm-100-disk-0", "one"), world.volume("vm-100-disk-1", "two")]);
    const start = startOf();
    const config = { ...ONE, efidisk0: "enc:vm-100-disk-1,size=4M", ide2: "none,media=cdrom" };
    const event = world.event("pre-start", 100, config, { start });
    expect(await world.handle(event)).toEqual(["provide-secrets"]);
    const directory = world.startPath(100, start);
    expect(statSync(directory).mode & 0o7777).toBe(0o700);
    expect(readdirSync(directory).sort()).toEqual(["efidisk0", "scsi0"]);
    for (const disk of ["scsi0", "efidisk0"])
      expect(statSync(join(directory, disk)).mode & 0o7777).toBe(0o600);
    expect(readFileSync(join(directory, "scsi0"), "utf8")).toBe("one".padEnd(88, "."));
    expect(readFileSync(join(directory, "efidisk0"), "utf8")).toBe("two".padEnd(88, "."));
  });

  it.each(["pre-start", "pre-migrate"] as const)(
    "records at %s that a freed key is in use",
    async (event) => {
      const world = new ProxmoxWorld();
      const uuid = await world.volume("vm-100-disk-0");
      const keystore = await world.container.resolve(KEYRING).get("local");
      const [record] = await keystore.find({});
      if (record === undefined) throw new Error("there is no key");
      await keystore.update({ ...record, freedAt: "2026-01-01T00:00:00Z", freedBy: "pve1", freedFrom: "x" });
      const phase = event === "pre-migrate" ? { phase: "pre-start" } : {};
      await world.handle(world.event(event, 100, ONE, { start: startOf(), ...phase }));
      expect(await keystore.find({})).toEqual([{ ...record, uuid }]);
    },
  );

  it("leaves a guest without encrypted disks alone", async () => {
    const world = new ProxmoxWorld();
    const config = { scsi0: "local:100/vm-100-disk-0.raw,size=4M" };
    expect(await world.handle(world.event("pre-start", 100, config, { start: startOf() }))).toEqual([]);
    expect(existsSync(world.places.starts)).toBe(false);
  });

  it.each([
    ["is empty", Buffer.alloc(4096), "VOLUME_NOT_FORMATTED"],
    ["holds a plain image", Buffer.alloc(1024 * 1024, "data"), "VOLUME_NOT_FORMATTED"],
    ["has a torn LUKS header", Buffer.from("LUKS\xba\xbe\0\x01", "latin1"), "LUKS_HEADER_INVALID"],
  ])("refuses a guest whose encrypted volume %s", async (_, bytes, code) => {
    const world = new ProxmoxWorld();
    writeFileSync(world.path("vm-100-disk-0"), Buffer.concat([bytes, Buffer.alloc(1024 * 1024)]));
    const before = treeOf(world.base);
    const event = world.event("pre-start", 100, ONE, { start: startOf() });
    await expect(world.handle(event)).rejects.toMatchObject({
      code,
      message: expect.stringContaining("cannot start guest web: disk scsi0") as string,
    });
    expect(treeOf(world.base)).toEqual(before);
    expect(existsSync(world.places.starts)).toBe(false);
  });

  it("refuses a guest whose volume is not there, or whose key nobody has", async () => {
    const world = new ProxmoxWorld();
    const start = startOf();
    await expect(world.handle(world.event("pre-start", 100, ONE, { start }))).rejects.toMatchObject({
      code: "VOLUME_NOT_FOUND",
    });
    await world.volume("vm-100-disk-0");
    const other = new ProxmoxWorld();
    writeFileSync(other.path("vm-100-disk-0"), readFileSync(world.path("vm-100-disk-0")));
    await expect(other.handle(other.event("pre-start", 100, ONE, { start }))).rejects.toMatchObject({
      code: "KEY_NOT_FOUND",
    });
  });

  it("refuses a tagged guest with a disk on plain storage", async () => {
    const world = new ProxmoxWorld();
    const config = { tags: "encrypt", virtio0: "local:100/vm-100-disk-0.raw,size=4M" };
    const event = world.event("pre-start", 100, config, { start: startOf() });
    await expect(world.handle(event)).rejects.toMatchObject({
      code: "DISK_NOT_ENCRYPTED",
      message: expect.stringContaining("virtio0") as string,
      hint: expect.stringContaining("qm disk move 100 virtio0") as string,
    });
  });

  it("refuses a disk on a storage whose section was stripped, before it looks at any volume", async () => {
    const world = new ProxmoxWorld();
    await world.volume("vm-100-disk-0");
    world.write("etc/pve/storage.cfg", "dir: local\n\tpath /v\n");
    const event = world.event("pre-start", 100, ONE, { start: startOf() });
    await expect(world.handle(event)).rejects.toMatchObject({ code: "STORAGE_CHANGED" });
  });

  it("lets linked clones of one template share its key in one guest", async () => {
    const world = new ProxmoxWorld();
    const uuid = await world.volume("base-100-disk-0", "shared");
    for (const name of ["vm-101-disk-0", "vm-101-disk-1"])
      writeFileSync(world.path(name), readFileSync(world.path("base-100-disk-0")));
    const start = startOf();
    const config = {
      scsi0: "enc:base-100-disk-0/vm-101-disk-0,size=4M",
      scsi1: "enc:base-100-disk-0/vm-101-disk-1,size=4M",
    };
    expect(await world.handle(world.event("pre-start", 101, config, { start }))).toEqual(["provide-secrets"]);
    expect(readdirSync(world.startPath(101, start)).sort()).toEqual(["scsi0", "scsi1"]);
    expect(uuid).toMatch(/^[0-9a-f-]{36}$/);
  });

  it.each([
    ["two disks on one volume", { scsi1: "enc:base-100-disk-0/vm-101-disk-0,size=4M" }],
    [
      "a copy that is no linked clone",
      { scsi0: "enc:vm-101-disk-0,size=4M", scsi1: "enc:vm-101-disk-1,size=4M" },
    ],
  ])("refuses %s", async (_, more) => {
    const world = new ProxmoxWorld();
    await world.volume("base-100-disk-0");
    for (const name of ["vm-101-disk-0", "vm-101-disk-1"])
      writeFileSync(world.path(name), readFileSync(world.path("base-100-disk-0")));
    const config = { scsi0: "enc:base-100-disk-0/vm-101-disk-0,size=4M", ...more };
    const event = world.event("pre-start", 101, config, { start: startOf() });
    await expect(world.handle(event)).rejects.toMatchObject({ code: "GUEST_CONFIG_INVALID" });
  });

  it("withdraws what an earlier start of the guest has left, and not what one under way has", async () => {
    const world = new ProxmoxWorld();
    await world.volume("vm-100-disk-0");
    for (const start of [goneStart(), startOf(1)]) {
      world.write(`run/luksmith/vm/100/${start}/scsi0`, "left");
    }
    await world.handle(world.event("pre-start", 100, ONE, { start: startOf() }));
    expect(existsSync(world.startPath(100, goneStart()))).toBe(false);
    expect(readFileSync(join(world.startPath(100, startOf(1)), "scsi0"), "utf8")).toBe("left");
  });

  it("says why where the plugin did not name the start", async () => {
    const world = new ProxmoxWorld();
    await world.volume("vm-100-disk-0");
    await expect(world.handle(world.event("pre-start", 100, ONE))).rejects.toMatchObject({
      code: "HOST_SECRET_FAILED",
    });
  });
});

describe("tag and notes of a VM that starts", () => {
  it("are left to be brought up to date where they do not name its keys", async () => {
    const world = new ProxmoxWorld();
    const uuid = await world.volume("vm-100-disk-0");
    const start = startOf();
    const said = {
      tags: "encrypted",
      description: `<!-- luksmith begin -->\n${uuid}\n<!-- luksmith end -->`,
    };
    await world.handle(world.event("pre-start", 100, { ...ONE, ...said }, { start }));
    expect(world.leftBehind).toEqual([]);
    for (const config of [ONE, { ...ONE, ...said, tags: "web" }, { ...ONE, tags: "encrypted" }])
      await world.handle(world.event("pre-start", 100, config, { start }));
    expect(world.leftBehind).toEqual(Array(3).fill({ command: "annotate", guest: "100" }));
  });

  it("are nobody's matter in a plan, at a migration, or of a VM without encrypted disks", async () => {
    const world = new ProxmoxWorld();
    await world.volume("vm-100-disk-0");
    const start = startOf();
    await world.plan(world.event("pre-start", 100, ONE, { start }));
    await world.handle(world.event("pre-migrate", 100, ONE, { start }));
    await world.handle(world.event("pre-start", 101, { scsi0: "local:vm-101-disk-0" }, { start }));
    expect(world.leftBehind).toEqual([]);
  });

  it("lose the block where the settings want none", async () => {
    const world = new ProxmoxWorld({ proxmox: { annotate: false } });
    await world.volume("vm-100-disk-0");
    const start = startOf();
    await world.handle(world.event("pre-start", 100, ONE, { start }));
    expect(world.leftBehind).toEqual([]);
    const config = { ...ONE, description: "<!-- luksmith begin -->" };
    await world.handle(world.event("pre-start", 100, config, { start }));
    expect(world.leftBehind).toEqual([{ command: "annotate", guest: "100" }]);
  });
});

describe("a migration on Proxmox VE", () => {
  it("is given what is there, at the target, and notes nothing", async () => {
    const world = new ProxmoxWorld();
    await world.volume("vm-100-disk-0");
    const start = startOf();
    for (const phase of ["pre-start", "pre-migrate"]) {
      const event = world.event("pre-migrate", 100, ONE, { start, phase });
      expect(await world.handle(event)).toEqual(["provide-secrets"]);
      expect(readdirSync(world.startPath(100, start))).toEqual(["scsi0"]);
    }
    expect(existsSync(join(world.root, "arrivals"))).toBe(false);
  });

  it("is refused where the volume is not the one that the source has", async () => {
    const world = new ProxmoxWorld();
    writeFileSync(world.path("vm-100-disk-0"), Buffer.alloc(4 * 1024 * 1024));
    const event = world.event("pre-migrate", 100, ONE, { start: startOf() });
    await expect(world.handle(event)).rejects.toMatchObject({
      code: "VOLUME_NOT_FORMATTED",
      message: expect.stringContaining("cannot take over guest web") as string,
    });
  });
});

describe("post-stop on Proxmox VE", () => {
  it("takes the guest's passphrases away, and leaves a start that is under way elsewhere", async () => {
    const world = new ProxmoxWorld();
    for (const start of [goneStart(), startOf(1)]) world.write(`run/luksmith/vm/100/${start}/scsi0`, "left");
    world.write(`run/luksmith/vm/101/${goneStart()}/scsi0`, "of another guest");
    expect(await world.handle(world.event("post-stop", 100, ONE))).toEqual(["withdraw-secrets"]);
    expect(readdirSync(join(world.places.starts, "100"))).toEqual([startOf(1)]);
    expect(readdirSync(world.startPath(101, goneStart()))).toEqual(["scsi0"]);
  });

  it("takes away what the process that calls the hook itself has", async () => {
    const world = new ProxmoxWorld();
    const start = startOf(process.ppid);
    world.write(`run/luksmith/vm/100/${start}/scsi0`, "left");
    await world.handle(world.event("post-stop", 100, ONE));
    expect(existsSync(world.startPath(100, start))).toBe(false);
  });

  it("does so while the cluster's file system is away, and for a configuration that nobody understands", async () => {
    const world = new ProxmoxWorld();
    world.write(`run/luksmith/vm/100/${goneStart()}/scsi0`, "left");
    const away = new ProxmoxWorld();
    away.write(`run/luksmith/vm/100/${goneStart()}/scsi0`, "left");
    const { rmSync } = await import("node:fs");
    rmSync(away.places.pve, { recursive: true });
    for (const [host, config] of [
      [world, { scsi0: ",,," }],
      [away, ONE],
    ] as const) {
      expect(await host.handle(host.event("post-stop", 100, config))).toEqual(["withdraw-secrets"]);
      expect(existsSync(host.startPath(100, goneStart()))).toBe(false);
    }
  });
});
