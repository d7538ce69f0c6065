import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ProxmoxBase } from "../../../src/generated/proxmox-storage.js";
import { baseClashes, refuseBase } from "../../../src/host/proxmox/same-base.js";
import { parseStorageConfig } from "../../../src/host/proxmox/storage-config.js";
import { codeOf } from "../../storage/workshop.js";
import { BridgeWorkshop } from "./bridge/bridge-workshop.js";

const NONE = parseStorageConfig("");
const ABSENT = { kind: "absent" } as const;
const known = (...bases: ProxmoxBase[]) => ({
  kind: "known" as const,
  storages: bases.map((base, index) => ({ id: `old${index}`, base })),
});
const refusal = async (base: ProxmoxBase, record: Parameters<typeof refuseBase>[2], id = "new") =>
  await codeOf(Promise.resolve().then(() => refuseBase({ id, base }, NONE, record)));
const accepted = (base: ProxmoxBase, record: Parameters<typeof refuseBase>[2]) =>
  expect(() => refuseBase({ id: "new", base }, NONE, record)).not.toThrow();
const directory = (path: string): ProxmoxBase => ({ type: "directory", path });

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "luksmith-same-"));
});
afterEach(() => rmSync(root, { recursive: true }));

describe("a base that another storage has", () => {
  const thin: ProxmoxBase = { type: "lvm-thin", vg: "vg1", thinpool: "data" };
  const rbd: ProxmoxBase = { type: "rbd", pool: "vms" };
  it.each<[string, ProxmoxBase, ProxmoxBase]>([
    ["the directory", directory("/srv/a"), directory("/srv/a/")],
    ["a directory in it", directory("/srv/a"), directory("/srv/a/b")],
    ["a directory around it", directory("/srv/a/b"), directory("/srv/a")],
    ["the volume group, thick and thin", { type: "lvm", vg: "vg1" }, thin],
    ["the volume group, of another thin pool", { ...thin, thinpool: "other" }, thin],
    ["the Ceph pool, by the same configuration", rbd, { ...rbd, conf: "/etc/ceph/ceph.conf", user: "x" }],
    ["the dataset", { type: "zfs", dataset: "tank/a" }, { type: "zfs", dataset: "tank/a" }],
  ])("is refused: %s", async (_, old, base) => {
    expect(await refusal(base, known(old))).toBe("STORAGE_BASE_REFUSED");
    expect(baseClashes(NONE, known(old, base))).toMatchObject([{ storages: ["old0", "old1"] }]);
  });

  it.each<[string, ProxmoxBase, ProxmoxBase]>([
    ["a directory whose name begins alike", directory("/srv/a"), directory("/srv/ab")],
    ["another volume group", { type: "lvm", vg: "vg1" }, { type: "lvm", vg: "vg2" }],
    ["another namespace", rbd, { ...rbd, namespace: "n" }],
    ["another cluster", rbd, { ...rbd, conf: "/etc/ceph/other.conf" }],
    ["a dataset below", { type: "zfs", dataset: "tank" }, { type: "zfs", dataset: "tank/a" }],
    ["other storage of the same name", { type: "zfs", dataset: "vms" }, rbd],
  ])("is not: %s", (_, old, base) => {
    accepted(base, known(old));
    expect(baseClashes(NONE, known(old, base))).toEqual([]);
  });

  it("is found behind a symbolic link, also where its own directory is not there yet", async () => {
    mkdirSync(join(root, "real"));
    symlinkSync("real", join(root, "link"));
    for (const name of ["", "/sub"]) {
      const record = known(directory(join(root, `real${name}`)));
      expect(await refusal(directory(join(root, `link${name}`)), record)).toBe("STORAGE_BASE_REFUSED");
    }
  });

  it("is found in storage.cfg, though nobody recorded it", async () => {
    const storages = parseStorageConfig("luksmith: old\n\tbase-vg vg1\n");
    const refused = () => refuseBase({ id: "new", base: thin }, storages, ABSENT);
    expect(await codeOf(Promise.resolve().then(refused))).toBe("STORAGE_BASE_REFUSED");
  });

  it("does not keep a storage that has it already from being changed", () => {
    const record = known(directory("/srv/a"), directory("/srv/a"));
    expect(() => refuseBase({ id: "old1", base: directory("/srv/a") }, NONE, record)).not.toThrow();
  });
});

describe("a directory of the host itself", () => {
  it.each(["/", "/etc", "/etc/pve/x", "/srv/../etc", "/srv/./a", "/usr/"])("is refused: %s", async (path) => {
    expect(await refusal(directory(path), ABSENT)).toBe("STORAGE_BASE_REFUSED");
  });

  it("is refused behind a symbolic link", async () => {
    symlinkSync("/etc", join(root, "link"));
    expect(await refusal(directory(join(root, "link/x")), ABSENT)).toBe("STORAGE_BASE_REFUSED");
  });

  it("is not meant by a name that begins alike", () => accepted(directory("/etcetera"), ABSENT));
});

it("fails the bridge's record-storage, and nothing is recorded", async () => {
  using workshop = new BridgeWorkshop();
  mkdirSync(workshop.places.pve, { recursive: true });
  writeFileSync(workshop.places.storageConfig, "");
  await workshop.ask({ op: "record-storage" });
  const storage = { ...workshop.storage, id: "second" };
  expect(await codeOf(workshop.ask({ op: "record-storage", storage }))).toBe("STORAGE_BASE_REFUSED");
  await workshop.ask({ op: "record-storage" });
});
