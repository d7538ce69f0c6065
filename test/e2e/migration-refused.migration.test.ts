import { copyFile, rm } from "node:fs/promises";
import { expect, it } from "vitest";
import type { ErrorCode } from "../../src/error/catalogue.js";
import { twoHostsForThisFile } from "./support/each-test.js";
import type { TestGuest } from "./support/guests.js";
import { expectNothingLeft } from "./support/nothing-left.js";
import { diskOn, disksApart, keysOf, refusedMigration } from "./support/storage-copy.js";
import { hashOf, luksUuidOf } from "./support/volumes.js";

const hosts = twoHostsForThisFile();
const OTHER_KEYS = "/var/lib/luksmith/keystore-of-the-other";

it("a target without the plugin refuses the guest", async () => {
  const { a, b } = hosts();
  const guest = await runningOnA();
  await b.must("uninstall", "--host", "libvirt");
  try {
    const { exitCode, stderr } = await hosts().migrate(guest, a, b);
    expect([exitCode, stderr]).toEqual([1, expect.stringMatching(/secret not found/i)]);
    expect(await b.libvirt.secretsLeft()).toEqual([]);
    await expectRunsOn(guest);
  } finally {
    await b.install();
  }
  await hosts().shareKeys();
  expect(await hosts().migrate(guest, a, b)).toMatchObject({ exitCode: 0, stderr: "" });
});

it("a target that has no key for the guest's disks says so, and what is wrong with its keystores", async () => {
  const { a, b } = hosts();
  const guest = await runningOnA();
  const cases: readonly (readonly [ErrorCode, () => Promise<unknown>])[] = [
    ["KEY_NOT_FOUND", () => b.settings({ version: 1 })],
    ["KEY_NOT_FOUND", () => b.settings({ version: 1, rules: [{ name: "all" }] })],
    ["KEY_NOT_FOUND", () => rm(b.inside(OTHER_KEYS), { recursive: true })],
    ["MASTER_KEY_UNUSABLE", () => rm(b.inside(`${OTHER_KEYS}/master-key.json`))],
  ];
  for (const [code, spoil] of cases) {
    await hosts().shareKeys();
    await spoil();
    expect((await refusedMigration(hosts(), guest)).code).toBe(code);
    await expectRunsOn(guest);
  }
  expect(await keysOf(b)).toEqual([]);
  await hosts().shareKeys();
  expect(await hosts().migrate(guest, a, b)).toMatchObject({ exitCode: 0, stderr: "" });
});

it("a target whose settings are invalid refuses the guest, and says where they are wrong", async () => {
  const { a, b } = hosts();
  const guest = await runningOnA();
  await hosts().shareKeys();
  await b.settings("{");
  const { exitCode, stderr } = await hosts().migrate(guest, a, b);
  expect([exitCode, stderr]).toEqual([1, expect.stringContaining("/etc/luksmith/settings.json")]);
  await expectRunsOn(guest);
});

it("a target that has another volume under the path of a disk leaves it alone", async () => {
  const { a, b } = hosts();
  const [disks, others] = [
    await disksApart(hosts(), "web1", ["raw", "qcow2"]),
    await disksApart(hosts(), "web2", ["raw", "qcow2"]),
  ];
  const guest = await a.define({ name: "web1", disks });
  await a.define({ name: "web2", disks: others });
  for (const name of ["web1", "web2"]) await a.must("protect", name, "--now");
  await hosts().shareKeys();
  await a.start(guest);

  expect((await refusedMigration(hosts(), guest)).code).toBe("VOLUME_NOT_FOUND");
  await expectRunsOn(guest);

  // the first disk's volume is there, as if it were shared
  await copyFile(diskOn(a, disks[0]!).path, diskOn(b, disks[0]!).path);
  await copyFile(diskOn(a, others[1]!).path, diskOn(b, disks[1]!).path);
  const before = await hashOf(diskOn(b, disks[1]!).path);
  expect((await refusedMigration(hosts(), guest)).code).toBe("LUKS_UUID_MISMATCH");
  await expectRunsOn(guest);
  expect(await hashOf(diskOn(b, disks[1]!).path)).toBe(before);
  expect(await luksUuidOf(diskOn(a, disks[1]!).path, "qcow2")).toBe((await a.blocks(guest))["vdb"]);
});

it("what was given to a target whose libvirt refuses the guest is reaped there", async () => {
  const { a, b } = hosts();
  const guest = await runningOnA();
  await hosts().shareKeys();
  const other = await b.define({ name: "web1", disks: [] });
  const { exitCode, stderr } = await hosts().migrate(guest, a, b);
  expect([exitCode, stderr]).toEqual([1, expect.stringMatching(/already exists with uuid/)]);
  expect(await a.isRunning(guest)).toBe(true);
  // libvirt has run our hook by then, and runs it no more
  const secrets = Object.values(await a.blocks(guest)).sort();
  expect((await b.libvirt.secretsLeft()).sort()).toEqual(secrets);
  await b.must("reap");
  expect(await b.libvirt.secretsLeft()).toEqual([]);
  expect((await a.libvirt.secretsLeft()).sort()).toEqual(secrets);

  await b.libvirt.virsh("undefine", other.uuid);
  expect(await hosts().migrate(guest, a, b)).toMatchObject({ exitCode: 0, stderr: "" });
  expect((await b.libvirt.secretsLeft()).sort()).toEqual(secrets);
});

/** Two disks on volumes that both hosts see; only a has the keys. */
async function runningOnA(): Promise<TestGuest> {
  const { a } = hosts();
  const guest = await a.guest("web1", ["raw", "qcow2"]);
  await a.must("protect", "web1", "--now");
  await a.start(guest);
  return guest;
}

async function expectRunsOn(guest: TestGuest): Promise<void> {
  const { a, b } = hosts();
  await expectNothingLeft(b, [a, b]);
  expect(await a.isRunning(guest)).toBe(true);
  expect((await a.libvirt.secretsLeft()).sort()).toEqual(Object.values(await a.blocks(guest)).sort());
}
