import { expect, it } from "vitest";
import { encryptedStoragesOf } from "../../../src/host/proxmox/encrypted-storages.js";
import { parsePools } from "../../../src/host/proxmox/pools.js";
import { parseStorageConfig } from "../../../src/host/proxmox/storage-config.js";
import { POOLS, STORAGES } from "../../fixtures/proxmox/guests.js";

it("a section of type luksmith says where its encrypted volumes lie, and with which profile", () => {
  const told = [...STORAGES.values()].flatMap(({ encrypted }) => encrypted ?? []);
  expect(told).toEqual([
    { id: "enc-dir", base: { type: "directory", path: "/srv/encrypted" } },
    { id: "enc-thin", base: { type: "lvm-thin", vg: "vg0", thinpool: "thin" }, profile: "fast" },
    { id: "enc-lvm", base: { type: "lvm", vg: "san" }, shared: true },
    {
      id: "enc-rbd",
      base: {
        ...{ type: "rbd", pool: "rbd", namespace: "enc", user: "luksmith" },
        conf: "/etc/pve/priv/ceph/enc-rbd.conf",
      },
    },
    { id: "enc-zfs", base: { type: "zfs", dataset: "rpool/enc" } },
  ]);
});

it("other sections are read as far as they matter", () => {
  expect(STORAGES.get("local-lvm")).toEqual({
    ...{ id: "local-lvm", type: "lvmthin", content: ["rootdir", "images"], disabled: false, shared: false },
    place: { type: "lvm", vg: "pve" },
  });
  expect(STORAGES.get("enc-dir")?.nodes).toEqual(["pve1", "pve2"]);
  expect(STORAGES.get("enc-lvm")?.shared).toBe(true);
  // an option without a value is on
  expect(STORAGES.get("enc-zfs")?.disabled).toBe(true);
});

it.each([
  ["no base", "content images", /names no base/],
  ["two bases", "base-path /a\n\tbase-vg b", /more than one/],
  ["a path that is not absolute", "base-path a", /cannot be used/],
  ["a volume group with a slash", "base-vg ../a", /cannot be used/],
  ["an empty profile", "base-path /a\n\tencryption-profile", undefined],
])("a section with %s", (_, options, problem) => {
  const storage = parseStorageConfig(`luksmith: enc\n\t${options}\n`).get("enc");
  if (problem === undefined) expect(storage?.encrypted?.profile).toBe("1");
  else expect(storage).toMatchObject({ problem: expect.stringMatching(problem) as string });
  expect(storage?.encrypted === undefined).toBe(problem !== undefined);
});

it("lines that Proxmox VE ignores make no storage", () => {
  const text = `lvm: a b
\tvgname x

dir: x1
# a comment
\tpath /a
luksmith: inner
\tbase-path /b
\tcontent images;iso backup

DIR:x2

dir: 1bad

dir: x1
\tnodes a
`;
  const storages = parseStorageConfig(text);
  expect([...storages.keys()]).toEqual(["local", "x1", "x2"]);
  expect(storages.get("x1")).toMatchObject({ nodes: ["a"], content: [] });
});

it("a disk can be moved to what is enabled, for images, and on this node", () => {
  expect(encryptedStoragesOf(STORAGES, "pve1")).toEqual(["enc-dir", "enc-thin", "enc-lvm", "enc-rbd"]);
  expect(encryptedStoragesOf(STORAGES, "pve9")).toEqual(["enc-thin", "enc-lvm", "enc-rbd"]);
  const rootdir = parseStorageConfig("luksmith: a0\n\tbase-path /a\n\tcontent none\n");
  expect(encryptedStoragesOf(rootdir, undefined)).toEqual([]);
});

it("pools are read among users and permissions, and the first that claims a guest has it", () => {
  expect(Object.fromEntries(POOLS)).toEqual({
    ...{ 101: "finance", 102: "finance", 103: "finance/payroll", 105: "lab", 106: "lab" },
  });
  expect(parsePools("user:pool:x:1:2:\npool\npool:a/b/c/d::1::\npool:a::x,007::\n")).toEqual(
    new Map([["7", "a"]]),
  );
});
