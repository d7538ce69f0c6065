import { copyFileSync } from "node:fs";
import { expect, it } from "vitest";
import { checkSharedKeys } from "../../../src/cli/doctor-shared-keys.js";
import { ProxmoxWorld, startOf } from "./proxmox-world.js";

const config = (vmid: number, disk = `enc:vm-${vmid}-disk-0`) => ({
  name: `web${vmid}`,
  scsi0: `${disk},size=4M`,
});

async function warningsOfStart(world: ProxmoxWorld, vmid: number, options = config(vmid)): Promise<string[]> {
  const steps = await world.handle(world.event("pre-start", vmid, options, { start: startOf() }));
  expect(steps).toEqual(["provide-secrets"]);
  return world.logger.warnings.map(({ message }) => message);
}

it("says at the start that a volume was put in the place of another", async () => {
  const world = new ProxmoxWorld();
  const [, other] = await Promise.all([world.volume("vm-100-disk-0"), world.volume("vm-101-disk-0")]);
  expect(await warningsOfStart(world, 100)).toEqual([]);
  copyFileSync(world.path("vm-101-disk-0"), world.path("vm-100-disk-0"));
  const [warning, ...more] = await warningsOfStart(world, 100);
  expect(warning).toContain(`disk scsi0 of guest web100 opens with key ${other}`);
  expect(warning).toContain(`${world.path("vm-101-disk-0")} of guest vm (101)`);
  expect(more).toEqual([]);
});

it("says so where the disk of another volume of the same guest is meant", async () => {
  const world = new ProxmoxWorld();
  await Promise.all([world.volume("vm-100-disk-0"), world.volume("vm-100-disk-1")]);
  copyFileSync(world.path("vm-100-disk-1"), world.path("vm-100-disk-0"));
  expect(await warningsOfStart(world, 100)).toHaveLength(1);
});

it("says nothing of a linked clone", async () => {
  const world = new ProxmoxWorld();
  await world.volume("base-100-disk-0");
  copyFileSync(world.path("base-100-disk-0"), world.path("vm-101-disk-0"));
  world.vm(101, config(101, "enc:base-100-disk-0/vm-101-disk-0"));
  world.vm(100, config(100, "enc:base-100-disk-0"));
  expect(await warningsOfStart(world, 101, config(101, "enc:base-100-disk-0/vm-101-disk-0"))).toEqual([]);
  expect(await checkSharedKeys(world.container)).toEqual([]);
});

it("is found by doctor as two volumes with one key", async () => {
  const world = new ProxmoxWorld();
  const [uuid] = await Promise.all([world.volume("vm-100-disk-0"), world.volume("vm-101-disk-0")]);
  world.vm(100, config(100));
  world.vm(101, config(101));
  expect(await checkSharedKeys(world.container)).toEqual([]);
  copyFileSync(world.path("vm-100-disk-0"), world.path("vm-101-disk-0"));
  const [check] = await checkSharedKeys(world.container);
  expect(check).toMatchObject({ name: "volumes with one key", result: "warning" });
  for (const part of ["disk scsi0 of guest web100", "disk scsi0 of guest web101", uuid])
    expect(check?.detail).toContain(part);
});
