import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { DEFAULT_STORAGE } from "../../../storage/default-storage.js";
import { codeOf } from "../../../storage/workshop.js";
import { type CephCluster, startCephCluster } from "../../../lab/ceph-cluster.js";
import { ExportWorkshop, readBytes, writeBytes } from "../export/export-workshop.js";

const NAME = "vm-100-disk-0";
const TEMPLATE = "base-100-disk-0";

let cluster: CephCluster;
beforeAll(async () => {
  cluster = await startCephCluster();
});
afterAll(() => cluster.stop());

let workshop: ExportWorkshop;
let namespace: string;
beforeEach(async () => {
  namespace = `test-${Math.random().toString(36).slice(2)}`;
  await cluster.rbd("namespace", "create", "--pool=rbd", `--namespace=${namespace}`);
  const { conf } = cluster;
  const rbd = { ...DEFAULT_STORAGE.rbd, user: "admin", conf };
  workshop = new ExportWorkshop({ type: "rbd", pool: "rbd", namespace, conf, user: "admin" }, undefined, {
    ...DEFAULT_STORAGE,
    rbd,
  });
});
afterEach(() => workshop[Symbol.asyncDispose]());

describe("a snapshot of an RBD image", () => {
  it("keeps what the volume held, opens with its key, can be read only, and is brought back", async () => {
    await workshop.make(NAME);
    await workshop.fill(NAME, 0x11);
    await workshop.snapshots.snapshot(NAME, "one");
    await workshop.fill(NAME, 0x22);
    const path = await workshop.open(NAME, "one");
    expect(readBytes(path, 0, 1)[0]).toBe(0x11);
    expect(() => writeBytes(path, 0, Buffer.alloc(1))).toThrow(/EACCES|EROFS|EPERM/);
    await workshop.close(NAME, "one");
    expect(await workshop.first(NAME)).toBe(0x22);
    await workshop.snapshots.rollback(NAME, "one");
    expect(await workshop.first(NAME)).toBe(0x11);
    expect(await workshop.snapshots.snapshots(NAME)).toEqual(["one"]);
    await workshop.snapshots.deleteSnapshot(NAME, "one");
    await workshop.snapshots.deleteSnapshot(NAME, "one");
    expect(await workshop.snapshots.snapshots(NAME)).toEqual([]);
  }, 120_000);

  it("is refused under a name that is taken, or of what is not there", async () => {
    await workshop.make(NAME);
    await workshop.snapshots.snapshot(NAME, "one");
    expect(await codeOf(workshop.snapshots.snapshot(NAME, "one"))).toBe("VOLUME_EXISTS");
    expect(await codeOf(workshop.snapshots.snapshot("vm-100-disk-9", "one"))).toBe("VOLUME_NOT_FOUND");
    expect(await codeOf(workshop.snapshots.rollback(NAME, "two"))).toBe("VOLUME_NOT_FOUND");
  }, 120_000);

  it("is not brought back while the volume is in use, which nobody else can export then", async () => {
    await workshop.make(NAME);
    await workshop.snapshots.snapshot(NAME, "one");
    await workshop.open(NAME);
    expect(await codeOf(workshop.snapshots.rollback(NAME, "one"))).toBe("VOLUME_BUSY");
    const elsewhere = new ExportWorkshop(workshop.storage.base, undefined);
    await using other = elsewhere;
    const key = await workshop.keystore.find({});
    const record = key[0]!;
    const found = await workshop.keystore.fetch(record.uuid as never);
    await other.keystore.store(found!);
    found!.passphrase.dispose();
    expect(await codeOf(other.open(NAME))).toBe("VOLUME_BUSY");
    await workshop.close(NAME);
  }, 120_000);
});

describe("a template on RBD", () => {
  it("has clones that open with its key, and is not removed before them", async () => {
    await workshop.make(NAME);
    await workshop.fill(NAME, 0x11);
    await workshop.snapshots.makeTemplate(NAME, TEMPLATE);
    await workshop.snapshots.makeTemplate(NAME, TEMPLATE);
    expect(await workshop.snapshots.snapshots(TEMPLATE)).toEqual(["__base__"]);
    await workshop.snapshots.clone(TEMPLATE, undefined, "vm-101-disk-0");
    await workshop.fill("vm-101-disk-0", 0x22);
    expect(await workshop.first("vm-101-disk-0")).toBe(0x22);
    expect(await workshop.first(TEMPLATE)).toBe(0x11);
    expect(await codeOf(workshop.snapshots.deleteSnapshot(TEMPLATE, "__base__"))).toBe("VOLUME_BUSY");
    expect(await codeOf(workshop.snapshots.clone(TEMPLATE, undefined, "vm-101-disk-0"))).toBe(
      "VOLUME_EXISTS",
    );
    expect(await codeOf(workshop.base.remove(TEMPLATE))).toBe("VOLUME_BUSY");
    await workshop.base.remove("vm-101-disk-0");
    await workshop.snapshots.deleteSnapshot(TEMPLATE, "__base__");
    await workshop.base.remove(TEMPLATE);
    expect(await workshop.base.list()).toEqual([]);
  }, 180_000);
});
