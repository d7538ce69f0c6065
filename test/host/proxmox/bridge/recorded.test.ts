import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { LuksmithError } from "../../../../src/error/luksmith-error.js";
import { BridgeWorkshop } from "./bridge-workshop.js";

let workshop: BridgeWorkshop;
beforeEach(() => {
  workshop = new BridgeWorkshop();
});
afterEach(() => workshop[Symbol.dispose]());

const MIB = 1024 * 1024;
const ours = () =>
  workshop.audit.uses.map(({ event, result, key, disk, code }) => [event, result, key, disk, code]);

it("what becomes of a volume is recorded with its key", async () => {
  const { uuid } = await workshop.create();
  await workshop.ask({ op: "resize", size: 16 * MIB, running: false });
  await workshop.ask({ op: "rename", to: "vm-101-disk-3", vmid: 101 });
  await workshop.free("vm-101-disk-3");
  expect(ours()).toEqual([
    ["store", "done", uuid, "vm-100-disk-0", undefined],
    ["format", "done", uuid, "vm-100-disk-0", undefined],
    ["resize", "done", uuid, "vm-100-disk-0", undefined],
    ["rename", "done", uuid, "vm-101-disk-3", undefined],
    ["free", "done", uuid, "vm-101-disk-3", undefined],
  ]);
});

it("what fails is recorded as failed", async () => {
  const { uuid } = await workshop.create();
  await workshop.create("vm-101-disk-0");
  workshop.audit.uses.length = 0;
  await expect(workshop.ask({ op: "rename", to: "vm-101-disk-0", vmid: 101 })).rejects.toThrow();
  expect(ours()).toEqual([["rename", "refused", uuid, "vm-101-disk-0", "VOLUME_EXISTS"]]);
});

it("a change that uses no passphrase is made where it cannot be recorded, with a warning", async () => {
  await workshop.create();
  workshop.audit.failure = new LuksmithError("AUDIT_UNWRITABLE", { what: "no room for the audit log" });
  await workshop.free();
  expect(await workshop.base.list()).toEqual([]);
  expect(workshop.warnings.join()).toContain("no room for the audit log");
});

it("what has no header has no entry", async () => {
  await workshop.create();
  workshop.audit.uses.length = 0;
  rmSync(join(workshop.directory, "vm-100-disk-0.luks"));
  await workshop.free().catch(() => undefined);
  expect(ours()).toEqual([]);
});
