import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { guestFromVmConfig } from "../../../src/guest-config/proxmox/vm-guest.js";
import type { VmOptions } from "../../../src/guest-config/proxmox/vm-config.js";
import { ProxmoxPlaces } from "../../../src/host/proxmox/places.js";
import { readStoragesRecord } from "../../../src/host/proxmox/read-storages-record.js";
import { parseStorageConfig } from "../../../src/host/proxmox/storage-config.js";
import { storageFindings, type StoragesRecord } from "../../../src/host/proxmox/storages-policy.js";
import { resolveRequests } from "../../../src/request/resolve.js";
import { parseSettings } from "../../../src/settings/load.js";
import { temporaryDirectory } from "../../fs/tree.js";
import { refusalOf } from "../../guest-config/refusal.js";

const SECTION = "luksmith: enc\n\tbase-path /srv/enc\n\tcontent images\n";
const STORAGES = [{ id: "enc", base: { type: "directory", path: "/srv/enc" }, profile: "fast" }] as const;
const RECORD: StoragesRecord = { kind: "known", storages: STORAGES };
const SETTINGS = parseSettings('{"version": 1}', "the test");

function start(section: string, record: StoragesRecord, config: VmOptions): void {
  const storages = parseStorageConfig(section);
  const guest = guestFromVmConfig({ vmid: 100, config, storages, pools: new Map(), record });
  resolveRequests(guest, SETTINGS);
}

const ON_IT = { scsi0: "local:100/a.raw", scsi1: "enc:vm-100-disk-0" };
const ADD = "pvesm add luksmith enc --base-path /srv/enc --encryption-profile fast";

describe("a guest on storage that is recorded as encrypted", () => {
  it.each([
    ["was stripped", "dir: local\n\tpath /v\n", "stripped", `put it back: ${ADD}`],
    ["is plain now", "dir: enc\n\tpath /srv/enc\n", "replaced", `put it back: pvesm remove enc && ${ADD}`],
    [
      "lies elsewhere now",
      "luksmith: enc\n\tbase-path /mnt\n",
      "changed",
      `put it back: pvesm remove enc && ${ADD}; if you changed it yourself: pvesm set enc --content images`,
    ],
    [
      "has lost its base",
      "luksmith: enc\n\tcontent images\n",
      "changed",
      `put it back: pvesm remove enc && ${ADD}; if you changed it yourself: pvesm set enc --content images`,
    ],
  ])("that %s is refused, with the command that restores it", (_, section, kind, hint) => {
    expect(storageFindings(parseStorageConfig(section), RECORD)).toMatchObject([
      { storage: "enc", kind, hint },
    ]);
    const error = refusalOf(() => start(section, RECORD, ON_IT));
    expect(error).toMatchObject({ code: "STORAGE_CHANGED", hint });
    expect(error.message).toContain("scsi1");
  });

  it("is refused as well if only its saved memory or a cloud-init drive is there", () => {
    for (const config of [{ vmstate: "enc:vm-100-state-x" }, { ide2: "enc:vm-100-cloudinit,media=cdrom" }])
      expect(refusalOf(() => start("", RECORD, config)).code).toBe("STORAGE_CHANGED");
  });

  it("starts if the storage is what it was, or if it has nothing there", () => {
    expect(() => start(SECTION, RECORD, ON_IT)).not.toThrow();
    expect(() => start("", RECORD, { scsi0: "local:100/a.raw", unused0: "enc:vm-100-disk-0" })).not.toThrow();
  });

  it("can be stopped: what refuses it is heard before a start only", () => {
    const storages = parseStorageConfig("");
    const config = ON_IT;
    expect(() =>
      guestFromVmConfig({ vmid: 100, config, storages, pools: new Map(), record: RECORD }),
    ).not.toThrow();
  });
});

it("a storage that was never recorded refuses nobody, and is told", () => {
  const findings = storageFindings(parseStorageConfig(SECTION), { kind: "absent" });
  expect(findings).toMatchObject([
    { kind: "not-recorded", hint: "have it recorded: pvesm set enc --content images" },
  ]);
  expect(() => start(SECTION, { kind: "absent" }, ON_IT)).not.toThrow();
});

it("a damaged record refuses guests on plain storage, which may have been encrypted, and no others", () => {
  const record: StoragesRecord = { kind: "damaged", path: "/p", why: "it is no JSON" };
  expect(refusalOf(() => start(SECTION, record, ON_IT))).toMatchObject({ code: "STORAGE_CHANGED" });
  expect(() => start(SECTION, record, { scsi0: "enc:vm-100-disk-0" })).not.toThrow();
  expect(() => start(SECTION, record, { ide2: "none,media=cdrom" })).not.toThrow();
});

it("commands of hints are one word for each option, whatever the names are", () => {
  const path = "/srv/it's $(x) --y\n";
  const storages = [{ id: "enc", base: { type: "directory" as const, path }, profile: "`z`" }];
  const [finding] = storageFindings(parseStorageConfig(""), { kind: "known", storages });
  const command = (finding?.hint ?? "").slice("put it back: ".length);
  const words = execFileSync("sh", ["-c", `pvesm() { printf '%s\\0' "$@"; }\n${command}`], {
    encoding: "utf8",
  });
  expect(words.split("\0")).toEqual([
    ...["add", "luksmith", "enc", "--base-path", path, "--encryption-profile", "`z`", ""],
  ]);
});

it.each([
  [{ type: "lvm", vg: "v" }, "--base-vg v"],
  [{ type: "lvm-thin", vg: "v", thinpool: "t" }, "--base-vg v --base-thinpool t"],
  [
    { type: "rbd", pool: "p", namespace: "n", conf: "/c", user: "u" },
    "--base-pool p --base-namespace n --base-conf /c --base-user u",
  ],
  [{ type: "rbd", pool: "p" }, "--base-pool p"],
  [{ type: "zfs", dataset: "d/e" }, "--base-zfs d/e"],
] as const)("a base %j is restored with %s", (base, options) => {
  const [finding] = storageFindings(parseStorageConfig(""), {
    kind: "known",
    storages: [{ id: "enc", base }],
  });
  expect(finding?.hint).toBe(`put it back: pvesm add luksmith enc ${options}`);
});

describe("our record", () => {
  function record(text: string | undefined): StoragesRecord {
    const places = new ProxmoxPlaces(temporaryDirectory());
    mkdirSync(join(places.cluster), { recursive: true });
    if (text !== undefined) writeFileSync(places.storagesRecord, text);
    return readStoragesRecord(places);
  }

  it("is known, absent or damaged", () => {
    expect(record(JSON.stringify({ version: 1, storages: STORAGES }))).toEqual(RECORD);
    expect(record(undefined)).toEqual({ kind: "absent" });
    for (const text of [
      "",
      "{",
      "[]",
      '{"version":2,"storages":[]}',
      '{"version":1,"storages":[{"id":"x"}]}',
    ])
      expect(record(text).kind).toBe("damaged");
  });
});
