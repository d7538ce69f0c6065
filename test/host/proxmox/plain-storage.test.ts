import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { guestFromVmConfig } from "../../../src/guest-config/proxmox/vm-guest.js";
import { encryptedGroups, looksEncrypted } from "../../../src/host/proxmox/looks-encrypted.js";
import { parsePools } from "../../../src/host/proxmox/pools.js";
import { plainPlaceOf, showsBase, volumeAtPlace } from "../../../src/host/proxmox/plain-place.js";
import { parseStorageConfig } from "../../../src/host/proxmox/storage-config.js";
import type { ProxmoxBase, ProxmoxStorage } from "../../../src/generated/proxmox-storage.js";
import type { StorageRegistry } from "../../../src/storage/storage-registry.js";
import { type PathVolume, volumeName } from "../../../src/storage/volume.js";
import { ProxmoxWorld, startOf } from "./proxmox-world.js";

/** Where a volume of a storage with this section lies. */
function placeOf(section: string, name: string): string | undefined {
  const place = parseStorageConfig(section).get("plain")?.place;
  const volume = place && volumeAtPlace(place, name);
  return volume && volumeName(volume);
}

describe("a volume on plain storage lies", () => {
  it.each([
    ["dir: plain\n\tpath /v\n", "100/vm-100-disk-0.raw", "/v/images/100/vm-100-disk-0.raw"],
    [
      "dir: plain\n\tpath /v/\n",
      "100/base-100-disk-0.raw/101/vm-101-disk-0.qcow2",
      "/v/images/101/vm-101-disk-0.qcow2",
    ],
    ["dir: plain\n\tpath /v\n\tcontent-dirs iso=i,images=disks\n", "100/a.raw", "/v/disks/100/a.raw"],
    ["nfs: plain\n\tserver a\n\texport /e\n", "100/a.raw", "/mnt/pve/plain/images/100/a.raw"],
    ["btrfs: plain\n\tpath /b\n", "100/vm-100-disk-0.raw", "/b/images/100/vm-100-disk-0/disk.raw"],
    ["lvm: plain\n\tvgname vg0\n", "vm-100-disk-0", "/dev/vg0/vm-100-disk-0"],
    ["lvmthin: plain\n\tvgname vg0\n\tthinpool t\n", "vm-100-disk-0", "/dev/vg0/vm-100-disk-0"],
    ["zfspool: plain\n\tpool r/d\n", "base-100-disk-0/vm-101-disk-0", "/dev/zvol/r/d/vm-101-disk-0"],
    ["rbd: plain\n\tpool p\n\tnamespace n\n", "vm-100-disk-0", "rbd:p/n/vm-100-disk-0"],
    ["rbd: plain\n", "vm-100-disk-0", "rbd:rbd/vm-100-disk-0"],
  ])("%j %s: %s", (section, name, path) => {
    expect(placeOf(section, name)).toBe(path);
  });

  it.each([
    ["dir: plain\n\tpath /v\n", "iso/a.iso"],
    ["dir: plain\n\tpath /v\n", "100/.."],
    ["lvm: plain\n\tvgname vg0\n", ".."],
    ["iscsi: plain\n\tportal a\n\ttarget b\n", "0.0.0.scsi-1"],
    ["zfs: plain\n\tpool tank\n\tportal a\n\ttarget b\n", "vm-100-disk-0"],
    ["lvm: plain\n", "vm-100-disk-0"],
  ])("%j %s: nowhere that is known", (section, name) => {
    expect(placeOf(section, name)).toBeUndefined();
  });
});

describe("plain storage shows the volumes of an encrypted one", () => {
  const conf = "/etc/pve/priv/ceph/x.conf";
  it.each<[string, Record<string, string>, ProxmoxBase, boolean]>([
    ["lvm", { vgname: "a" }, { type: "lvm", vg: "a" }, true],
    ["lvm", { vgname: "a" }, { type: "lvm", vg: "b" }, false],
    // whatever its pool, a name means the volume of that name
    ["lvmthin", { vgname: "a", thinpool: "p" }, { type: "lvm-thin", vg: "a", thinpool: "q" }, true],
    ["zfspool", { pool: "a/b" }, { type: "zfs", dataset: "a/b" }, true],
    ["zfspool", { pool: "a" }, { type: "zfs", dataset: "a/b" }, false],
    ["rbd", { pool: "a" }, { type: "rbd", pool: "a" }, true],
    ["rbd", { pool: "a" }, { type: "rbd", pool: "a", namespace: "n" }, false],
    ["rbd", { pool: "a", monhost: "x" }, { type: "rbd", pool: "a" }, false],
    ["rbd", { pool: "a", monhost: "x" }, { type: "rbd", pool: "a", conf }, true],
    ["dir", { path: "/v" }, { type: "directory", path: "/v/" }, true],
    ["dir", { path: "/v" }, { type: "directory", path: "/v/images/100" }, true],
    ["dir", { path: "/v" }, { type: "directory", path: "/v/enc" }, false],
  ])("%s %j, base %j: %s", (type, options, base, shows) => {
    const place = plainPlaceOf("x", type, new Map(Object.entries(options)));
    expect(place !== undefined && showsBase(place, base)).toBe(shows);
  });
});

const LVM = { id: "enc", base: { type: "lvm", vg: "vg0" } };
const RBD = { id: "enc", base: { type: "rbd", pool: "vms" } };

describe("a guest that names ciphertext as a plain disk", () => {
  async function start(world: ProxmoxWorld, config: Record<string, string>, event = "pre-start" as const) {
    return await world.handle(world.event(event, 100, config, { start: startOf() }));
  }

  it.each(["pre-start", "pre-migrate"] as const)(
    "is refused at %s, and told how to name it",
    async (event) => {
      const world = new ProxmoxWorld();
      await world.volume("vm-100-disk-0");
      const image = join(world.root, "plain/images/100/vm-100-disk-0.raw");
      mkdirSync(dirname(image), { recursive: true });
      symlinkSync(world.path("vm-100-disk-0"), image);
      world.write(
        "etc/pve/storage.cfg",
        `luksmith: enc\n\tbase-path ${world.base}\n\ndir: plain\n\tpath ${world.root}/plain\n`,
      );
      const config = { name: "web", scsi0: "plain:100/vm-100-disk-0.raw,size=4M" };
      await expect(start(world, config, event as "pre-start")).rejects.toMatchObject({
        code: "ENCRYPTION_BLOCK_LOST",
        hint: expect.stringContaining("qm set 100 --scsi0 STORAGE:vm-100-disk-0") as string,
      });
      const path = { name: "web", scsi0: world.path("vm-100-disk-0") };
      await expect(start(world, path, event as "pre-start")).rejects.toMatchObject({
        code: "ENCRYPTION_BLOCK_LOST",
        hint: expect.stringContaining("qm set 100 --scsi0 enc:vm-100-disk-0") as string,
      });
    },
  );

  it("starts if the header is not one of ours, or if there is none", async () => {
    const world = new ProxmoxWorld();
    const other = new ProxmoxWorld();
    await other.volume("vm-100-disk-0");
    const images = join(world.root, "plain/images/100");
    mkdirSync(images, { recursive: true });
    copyFileSync(other.path("vm-100-disk-0"), join(images, "a.raw"));
    writeFileSync(join(images, "b.raw"), Buffer.alloc(4096));
    world.write("etc/pve/storage.cfg", `dir: plain\n\tpath ${world.root}/plain\n`);
    const config = { scsi0: "plain:100/a.raw", scsi1: "plain:100/b.raw", scsi2: "plain:100/gone.raw" };
    expect(await start(world, config)).toEqual([]);
  });

  it.each([
    ["is an encrypted storage's", "luksmith: enc\n\tbase-pool vms\n\nrbd: plain\n\tpool vms\n"],
    ["was one's, whose section is gone", "rbd: plain\n\tpool vms\n"],
  ])("is refused on a Ceph pool that %s, where no header is read", async (_, section) => {
    const world = new ProxmoxWorld();
    world.write("etc/pve/storage.cfg", section);
    world.write("etc/pve/luksmith/storages.json", JSON.stringify({ version: 1, storages: [RBD] }));
    for (const config of [
      { scsi0: "plain:vm-100-disk-0,size=4M" },
      { vmstate: "plain:vm-100-state-a" },
      { ide2: "plain:vm-100-cloudinit,media=cdrom" },
    ] as Record<string, string>[])
      await expect(start(world, config)).rejects.toMatchObject({
        code: "STORAGE_CHANGED",
        message: expect.stringContaining("storage plain") as string,
        hint: expect.stringContaining("enc:VOLUME") as string,
      });
  });

  it("starts with a plain volume of a group that has encrypted ones too", async () => {
    const world = new ProxmoxWorld();
    world.write(
      "etc/pve/storage.cfg",
      "luksmith: enc\n\tbase-vg vg0\n\nlvmthin: plain\n\tvgname vg0\n\tthinpool data\n",
    );
    world.write("etc/pve/luksmith/storages.json", JSON.stringify({ version: 1, storages: [LVM] }));
    await expect(start(world, { scsi0: "plain:vm-100-disk-0,size=4M" })).resolves.toBeDefined();
  });

  it("looks into an inactive volume of such a group, also of one whose section is gone", async () => {
    const groups = encryptedGroups(new Map(), { kind: "known", storages: [LVM as ProxmoxStorage] });
    const probed: string[] = [];
    const backend = {
      probe: (volume: PathVolume) => {
        probed.push(volume.path);
        return Promise.resolve({ kind: "bad-luks", reason: "test", claimedUuid: undefined });
      },
    };
    const volumes = { findBackend: () => Promise.resolve(backend) } as unknown as StorageRegistry;
    const storages = parseStorageConfig("lvm: plain\n\tvgname vg0\n");
    const guest = guestFromVmConfig({
      vmid: "100",
      config: { scsi0: "plain:vm-100-disk-0" },
      storages,
      pools: parsePools(""),
    });
    const disk = guest.disks.mapping["scsi0"];
    if (disk === undefined) throw new Error("the guest has no disk");
    const found = await looksEncrypted(disk, { scsi0: "plain:vm-100-disk-0" }, { volumes, storages, groups });
    expect(found?.volume).toEqual({ kind: "block", path: "/dev/vg0/vm-100-disk-0", format: "raw" });
    expect(probed).toEqual(["/dev/vg0/vm-100-disk-0"]);
  });

  it("is told by doctor of such a storage", () => {
    const world = new ProxmoxWorld();
    world.write(
      "etc/pve/storage.cfg",
      `luksmith: enc\n\tbase-path ${world.base}\n\ndir: plain\n\tpath ${world.base}\n`,
    );
    expect(world.host.checks(world.settings)).toContainEqual(
      expect.objectContaining({ name: "storage plain", result: "warning" }),
    );
  });
});

describe("a volume that is named as a linked clone", () => {
  const CONFIG = { name: "web", scsi0: "enc:base-100-disk-0/vm-101-disk-0,size=4M" };

  async function start(prepare: (world: ProxmoxWorld) => Promise<unknown>) {
    const world = new ProxmoxWorld();
    await world.volume("vm-101-disk-0");
    await prepare(world);
    return await world.handle(world.event("pre-start", 101, CONFIG, { start: startOf() }));
  }

  it("is refused where the template is not there, or is another volume", async () => {
    await expect(start(() => Promise.resolve())).rejects.toMatchObject({
      code: "VOLUME_NOT_FOUND",
      message: expect.stringContaining("template") as string,
    });
    await expect(start((world) => world.volume("base-100-disk-0"))).rejects.toMatchObject({
      code: "LUKS_UUID_MISMATCH",
    });
  });
});
