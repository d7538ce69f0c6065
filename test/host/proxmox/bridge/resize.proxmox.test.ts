import { closeSync, openSync, statSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { resize } from "../../../../src/host/proxmox/bridge/resize.js";
import type { BridgeResources } from "../../../../src/host/proxmox/bridge/resources.js";
import { openExport } from "../../../../src/host/proxmox/export/open-export.js";
import { codeOf, MIB } from "../../../storage/workshop.js";
import { ExportWorkshop } from "../export/export-workshop.js";
import { BridgeWorkshop } from "./bridge-workshop.js";

const VOLUME = "vm-100-disk-0";
let workshop: BridgeWorkshop;
let exporting: ExportWorkshop;
let resources: BridgeResources;

beforeEach(async () => {
  workshop = new BridgeWorkshop();
  resources = workshop.resources;
  exporting = new ExportWorkshop(workshop.storage.base, workshop.root);
  await workshop.create(VOLUME, 8 * MIB);
});
afterEach(async () => {
  await exporting[Symbol.asyncDispose]();
  workshop[Symbol.dispose]();
});

const grow = (size: number, running: boolean) =>
  resize({ version: 1, op: "resize", storage: workshop.storage, volume: VOLUME, size, running }, resources);
const open = () => openExport({ storage: workshop.storage, volume: VOLUME }, { ...exporting.resources });
const ownSize = () => statSync(`${workshop.directory}/${VOLUME}.luks`).size;

it("shows the new size of an idle export to whoever has just seen the old one", async () => {
  const image = await open();
  expect(statSync(image).size).toBe(8 * MIB);
  await grow(12 * MIB, false);
  expect(statSync(image).size).toBe(12 * MIB);
  expect(ownSize()).toBe(14 * MIB);
});

it("refuses what a running guest has open through an export, and makes nothing larger", async () => {
  const image = await open();
  const guest = openSync(image, "r+");
  try {
    expect(await codeOf(grow(12 * MIB, true))).toBe("VOLUME_BUSY");
  } finally {
    closeSync(guest);
  }
  expect(statSync(image).size).toBe(8 * MIB);
  expect(ownSize()).toBe(10 * MIB);
});

it("leaves what a running guest has open natively to its QEMU", async () => {
  expect(await grow(12 * MIB, true)).toEqual({ size: 12 * MIB });
  expect(ownSize()).toBe(10 * MIB);
});
