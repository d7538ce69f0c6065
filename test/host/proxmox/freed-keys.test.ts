import { copyFileSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { markBase } from "../../../src/host/proxmox/base/base-mark.js";
import { reapFreedKeys } from "../../../src/host/proxmox/freed-keys.js";
import { recordStorage } from "../../../src/host/proxmox/storages-record.js";
import { KeyLocks } from "../../../src/keystore/key-locks.js";
import { GuestLocks } from "../../../src/plan/guest-locks.js";
import type { RecordingAudit } from "../../fake/recording-audit.js";
import { archivedRecord, storeText } from "../../keystore/sample-key.js";
import { BridgeWorkshop } from "./bridge/bridge-workshop.js";

const NO_DAYS = { proxmox: { keepFreedKeys: 0 } };

let workshop: BridgeWorkshop;
let uuid: string | undefined;
beforeEach(async () => {
  workshop = new BridgeWorkshop();
  mkdirSync(join(workshop.places.root, "run/luksmith"), { recursive: true });
  for (const node of ["pve1", "pve2"])
    mkdirSync(join(workshop.places.nodes, node, "qemu-server"), { recursive: true });
  beNode("pve1");
  await recordStorage(workshop.storage, workshop.places, workshop.runner);
  ({ uuid } = await workshop.create());
});
afterEach(() => workshop[Symbol.dispose]());

/** As the cluster's file system shows it there. */
function beNode(name: string): void {
  rmSync(join(workshop.places.pve, "local"), { force: true });
  symlinkSync(`nodes/${name}`, join(workshop.places.pve, "local"));
}

const volume = () => join(workshop.directory, "vm-100-disk-0.luks");
const later = (days: number) => {
  workshop.now = new Date(Date.parse("2026-01-01T00:00:00Z") + days * 86_400_000);
};
const locksOf = ({ runner, root }: BridgeWorkshop) => ({
  locks: new GuestLocks(runner, join(root, "lock")),
  keyLocks: new KeyLocks(runner, join(root, "lock")),
});
const reap = (manner: "apply" | "dry-run" = "apply") =>
  reapFreedKeys(manner, { ...workshop.resources, ...locksOf(workshop) });
/** The next look is in an hour. */
const forgetLook = () =>
  rmSync(join(workshop.places.root, "run/luksmith/looked-for-freed-keys"), { force: true });

describe("the key of a volume that was destroyed", () => {
  beforeEach(() => workshop.free());

  it("is kept for as long as the settings say, and then deleted", async () => {
    later(29.9);
    expect(await reap()).toEqual([]);
    expect(await workshop.keys()).toHaveLength(1);
    forgetLook();
    later(30);
    expect(await reap("dry-run")).toMatchObject([{ kind: "freed-key", name: uuid, outcome: "found" }]);
    expect(await workshop.keys()).toHaveLength(1);
    expect(await reap()).toMatchObject([{ kind: "freed-key", name: uuid, outcome: "cleaned" }]);
    expect(await workshop.keys()).toEqual([]);
  });

  it("goes with its former passphrases, and the audit log says so", async () => {
    const { keyring, audit } = workshop.resources;
    const keystore = await keyring.get("local");
    const [record] = await workshop.keys();
    const former = archivedRecord(record!, 1);
    await storeText(keystore, former, "a former one");
    later(31);
    expect(await reap()).toMatchObject([{ name: uuid, outcome: "cleaned" }]);
    expect(await workshop.keys()).toEqual([]);
    const deleted = (audit as RecordingAudit).uses.filter(({ event }) => event === "delete");
    expect(deleted.map(({ key }) => key)).toEqual([former.uuid, uuid]);
  });

  it("is looked for once an hour, or when another volume was freed", async () => {
    await reap();
    later(31);
    expect(await reap()).toEqual([]);
    await workshop.create("vm-100-disk-1");
    await workshop.free("vm-100-disk-1");
    expect(await reap()).toMatchObject([{ name: uuid }]);
  });

  it("stays while its storage cannot be looked at, or is configured no more", async () => {
    later(31);
    rmSync(workshop.directory, { recursive: true });
    expect(await reap()).toEqual([]);
    mkdirSync(workshop.directory);
    writeFileSync(join(workshop.directory, "x"), "");
    rmSync(workshop.places.storagesRecord);
    forgetLook();
    expect(await reap()).toEqual([]);
    expect(await workshop.keys()).toHaveLength(1);
  });
});

it("the key of a volume that has come back is freed no more, whatever its name is now", async () => {
  const backup = join(workshop.root, "backup");
  copyFileSync(volume(), backup);
  await workshop.free();
  copyFileSync(backup, join(workshop.directory, "vm-105-disk-7.luks"));
  later(31);
  expect(await reap()).toEqual([]);
  expect(await workshop.keys()).toMatchObject([{ uuid, state: "active" }]);
  expect((await workshop.keys())[0]?.freedAt).toBeUndefined();
});

it("a volume that cannot be read keeps the keys of all", async () => {
  await workshop.free();
  mkdirSync(dirname(volume()), { recursive: true });
  // a header of which nothing but the magic is left: whose it was cannot be told
  const torn = Buffer.alloc(4 * 1024 * 1024);
  torn.write("LUKS\xba\xbe\0\x01", "latin1");
  writeFileSync(join(workshop.directory, "vm-107-disk-0.luks"), torn);
  later(31);
  await reap();
  expect(await workshop.keys()).toHaveLength(1);
});

it("a key that is in use is never deleted", async () => {
  later(4000);
  expect(await reap()).toEqual([]);
  expect(await workshop.keys()).toMatchObject([{ uuid, state: "active" }]);
});

describe("a key that was freed stays", () => {
  const second = { id: "second", base: { type: "directory" as const, path: "" } };
  const storageConfig = (text: string) => writeFileSync(workshop.places.storageConfig, text);
  beforeEach(() => {
    second.base.path = join(workshop.root, "second");
    mkdirSync(second.base.path);
    markBase(second.base.path);
  });

  async function expectKept(): Promise<void> {
    later(31);
    expect(await reap()).toEqual([]);
    expect(await workshop.keys()).toHaveLength(1);
    forgetLook();
  }

  async function expectDeleted(): Promise<void> {
    expect(await reap()).toMatchObject([{ name: uuid, outcome: "cleaned" }]);
  }

  it.each(["our record", "storage.cfg"])("while another base that %s names has its volume", async (place) => {
    if (place === "our record") await recordStorage(second, workshop.places, workshop.runner);
    else storageConfig(`luksmith: second\n\tbase-path ${second.base.path}\n`);
    copyFileSync(volume(), join(second.base.path, "vm-105-disk-0.luks"));
    await workshop.free();
    later(31);
    expect(await reap()).toEqual([]);
    expect(await workshop.keys()).toMatchObject([{ uuid, state: "active" }]);
    expect((await workshop.keys())[0]).not.toHaveProperty("freedAt");
    expect((await workshop.keys())[0]).not.toHaveProperty("freedBy");
    expect((await workshop.keys())[0]).not.toHaveProperty("freedFrom");
  });

  it("while another base cannot be looked at, unless this node has none such", async () => {
    await recordStorage(second, workshop.places, workshop.runner);
    await workshop.free();
    rmSync(second.base.path, { recursive: true });
    await expectKept();
    // there, and empty, as a mount point is
    mkdirSync(second.base.path);
    await expectKept();
    storageConfig(`luksmith: second\n\tbase-path ${second.base.path}\n\tnodes pve2\n`);
    await expectDeleted();
  });

  it("on other nodes than the one that destroyed its volume, where each has a base of its own", async () => {
    await workshop.free();
    expect(await workshop.keys()).toMatchObject([{ freedBy: "pve1" }]);
    beNode("pve2");
    await expectKept();
    beNode("pve1");
    await expectDeleted();
  });

  it("for any node to delete, where all have one base", async () => {
    Object.assign(workshop.storage, { shared: true });
    await workshop.free();
    beNode("pve2");
    later(31);
    await expectDeleted();
  });

  it("while another directory, or an empty one, is where its volume was", async () => {
    await workshop.free();
    const away = `${workshop.directory}.away`;
    renameSync(workshop.directory, away);
    mkdirSync(workshop.directory);
    await expectKept();
    markBase(workshop.directory);
    await expectKept();
    rmSync(workshop.directory, { recursive: true });
    renameSync(away, workshop.directory);
    await expectDeleted();
  });

  it("for an hour, however short the settings keep it", async () => {
    using hasty = new BridgeWorkshop({ type: "directory", path: workshop.directory }, NO_DAYS, workshop.root);
    await hasty.free();
    const locks = locksOf(hasty);
    hasty.now = new Date("2026-01-01T00:59:00Z");
    expect(await reapFreedKeys("apply", { ...hasty.resources, ...locks })).toEqual([]);
    expect(await hasty.keys()).toHaveLength(1);
    forgetLook();
    hasty.now = new Date("2026-01-01T01:00:00Z");
    expect(await reapFreedKeys("apply", { ...hasty.resources, ...locks })).toMatchObject([{ name: uuid }]);
  });

  it("while our record of the storages cannot be read", async () => {
    await workshop.free();
    writeFileSync(workshop.places.storagesRecord, "{");
    storageConfig(`luksmith: local-luks\n\tbase-path ${workshop.directory}\n`);
    await expectKept();
  });
});
