import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ProxmoxWorld, NODE } from "./proxmox-world.js";

function checksOf(world: ProxmoxWorld) {
  return world.host.checks(world.settings);
}

const worst = (world: ProxmoxWorld) =>
  checksOf(world).filter(({ result, name }) => result !== "ok" && name !== "FUSE");

describe("doctor on Proxmox VE", () => {
  it("is content with encrypted storages that are as they were recorded", () => {
    const world = new ProxmoxWorld();
    expect(worst(world)).toEqual([]);
    expect(checksOf(world)).toContainEqual({
      ...{ name: "encrypted storages", result: "ok", detail: "enc, as recorded" },
    });
  });

  it.each([
    ["9.1.9", "ok"],
    ["9.2.0~rc1", "ok"],
    ["10.0.1", "ok"],
    ["9.1.8", "warning"],
    ["8.4.13", "warning"],
  ])("tells by the version %s of qemu-server whether QEMU opens disks itself", (version, result) => {
    const world = new ProxmoxWorld();
    const other = "Package: pve-qemu-kvm\nStatus: install ok installed\nVersion: 1.0\n";
    const own = `Package: qemu-server\nStatus: install ok installed\nVersion: ${version}\n`;
    world.write("var/lib/dpkg/status", [other, own, other].join("\n"));
    expect(checksOf(world)).toContainEqual(
      expect.objectContaining({
        ...{ name: "native opening", result },
        detail: expect.stringContaining(result === "ok" ? "itself" : "exports") as string,
      }),
    );
    world.write("var/lib/dpkg/status", own.replace("ok installed", "ok config-files"));
    expect(checksOf(world).filter(({ name }) => name === "native opening")).toEqual([]);
  });

  it("says that exports need FUSE", () => {
    expect(checksOf(new ProxmoxWorld())).toContainEqual(
      expect.objectContaining({ name: "FUSE", result: "failed", hint: "modprobe fuse" }),
    );
  });

  it.each([
    ["was stripped", "dir: local\n\tpath /v\n", "failed", "pvesm add luksmith enc"],
    ["has another base", "luksmith: enc\n\tbase-path /other\n", "failed", "pvesm remove enc"],
    ["is of another type", "dir: enc\n\tpath /other\n", "failed", "pvesm remove enc"],
  ])("fails where a section %s", (_, config, result, hint) => {
    const world = new ProxmoxWorld();
    world.write("etc/pve/storage.cfg", config);
    expect(worst(world)).toMatchObject([
      { name: "encrypted storages", result, hint: expect.stringContaining(hint) as string },
    ]);
  });

  it("fails where the record is damaged, and warns of a storage that is not in it", () => {
    const world = new ProxmoxWorld();
    world.write("etc/pve/luksmith/storages.json", "{");
    expect(worst(world)).toMatchObject([{ name: "encrypted storages", result: "failed" }]);
    world.write("etc/pve/luksmith/storages.json", '{"version":1,"storages":[]}');
    expect(worst(world)).toMatchObject([{ name: "encrypted storages", result: "warning" }]);
  });

  it("fails for a section that names no base", () => {
    const world = new ProxmoxWorld();
    world.write("etc/pve/luksmith/storages.json", '{"version":1,"storages":[]}');
    world.write("etc/pve/storage.cfg", "luksmith: bad\n\tcontent images\n");
    expect(worst(world)).toContainEqual(
      expect.objectContaining({ name: "encrypted storages", result: "failed" }),
    );
  });

  it("fails where two storages have one base", () => {
    const world = new ProxmoxWorld();
    const config = `luksmith: enc\n\tbase-path ${world.base}\n\nluksmith: two\n\tbase-path ${world.base}\n`;
    world.write("etc/pve/storage.cfg", config);
    expect(worst(world)).toContainEqual(
      expect.objectContaining({
        ...{ name: "bases of encrypted storages", result: "failed" },
        detail: expect.stringContaining("storages enc and two: both use directory") as string,
      }),
    );
  });

  it("says how to make a storage where there is none", () => {
    const world = new ProxmoxWorld();
    world.write("etc/pve/luksmith/storages.json", '{"version":1,"storages":[]}');
    world.write("etc/pve/storage.cfg", "dir: local\n\tpath /v\n");
    expect(worst(world)).toMatchObject([
      { result: "warning", hint: expect.stringContaining("pvesm add luksmith") as string },
    ]);
  });

  it("warns of a keystore that one node of several has alone", () => {
    const world = new ProxmoxWorld();
    world.write("etc/pve/nodes/pve2/qemu-server/.keep", "");
    expect(worst(world)).toMatchObject([{ name: "keystore local in the cluster", result: "warning" }]);
  });

  it.each<[change: { directory?: string; protector?: object }, expected: object[]]>([
    [{}, []],
    [{ protector: { type: "tpm2" } }, [{ name: "keystore shared in the cluster", result: "warning" }]],
    [{ directory: "luksmith/keys" }, [{ name: "keystore shared in the cluster", result: "failed" }]],
  ])("judges a keystore in the cluster's file system: %j", (change, expected) => {
    const world = new ProxmoxWorld();
    world.write(`etc/pve/nodes/${NODE}2/qemu-server/.keep`, "");
    const directory = join(world.places.pve, change.directory ?? "priv/luksmith/keystore");
    const protector = { type: "file" };
    const keystores = [{ name: "shared", type: "file", protector, ...change, directory }] as never;
    const found = world.host.checks({ keystores }).filter(({ name }) => name.startsWith("keystore"));
    expect(found).toMatchObject(expected);
  });

  it("warns of settings that nobody reads, and of migration in plaintext", () => {
    const world = new ProxmoxWorld();
    world.write("etc/luksmith/settings.json", "{}");
    for (const text of [
      "migration: insecure,network=10.0.0.0/24",
      "migration: type=insecure",
      "migration_unsecure: 1",
    ]) {
      world.write("etc/pve/datacenter.cfg", `keyboard: de\n${text}\n`);
      expect(worst(world)).toMatchObject([
        { name: "settings", result: "warning" },
        { name: "migration", result: "warning" },
      ]);
    }
    world.write("etc/pve/datacenter.cfg", "migration: secure,network=10.0.0.0/24\n");
    expect(worst(world)).toMatchObject([{ name: "settings" }]);
  });
});
