import { setTimeout as sleep } from "node:timers/promises";
import { expect, it, vi } from "vitest";
import { twoHostsForThisFile } from "./support/each-test.js";
import type { TestGuest } from "./support/guests.js";
import { hookCall, savedArrival } from "./support/hook-calls.js";
import { killFirst } from "./support/processes.js";
import { killPoints, runAndKill, someOf } from "./support/killed.js";
import {
  COPY,
  diskOn,
  disksApart,
  emptyVolumes,
  expectPatterns,
  keysOf,
  patternedGuest,
  refusedMigration,
  runningBlocks,
  settled,
} from "./support/storage-copy.js";
import { luksUuidOf } from "./support/volumes.js";
import { checkWriting, defineWriter, writesOn } from "./support/writing-guest.js";

const hosts = twoHostsForThisFile();
const TIMEOUT = 120_000;
/** So slow that there is a middle, with six seconds for what the guest sees of a volume: MiB/s. */
const SLOWLY = ["--bandwidth", "1"];

it(
  "the target's hook can be killed at any call: the next migration goes on with what it finds",
  { timeout: TIMEOUT },
  async () => {
    const { a, b } = hosts();
    const guest = await patternedGuest(hosts(), ["raw", "qcow2"]);
    const atSource = await keysOf(a);
    const reset = async () => {
      for (const directory of [hosts().apart, "/var/lib/luksmith"])
        await b.libvirt.exec(["find", directory, "-mindepth", "1", "-delete"]);
      await emptyVolumes(b, guest.disks);
    };
    await reset();
    const announced = await savedArrival(b, () => hosts().migrate(guest, a, b, COPY));
    const hook = hookCall(b, "pre-migrate", guest, announced);
    const points = someOf(await killPoints(b, hook), 3);
    let kills = 0;
    for (const [index, point] of points.entries()) {
      const when = `after a kill at ${point.name} number ${point.n}`;
      await reset();
      if ((await runAndKill(b, hook, point)) === "killed") kills++;
      // what a hook that was killed provided is nobody's: reaped now, or used and withdrawn by the next migration
      if (index % 2 === 0) {
        await b.must("reap");
        expect(await b.libvirt.secretsLeft(), when).toEqual([]);
      }
      for (const [from, to] of [
        [a, b],
        [b, a],
      ] as const) {
        const { exitCode, stderr } = await hosts().migrate(guest, from, to, COPY);
        expect({ exitCode, stderr }, when).toEqual({ exitCode: 0, stderr: "" });
        await expectPatterns(to, guest);
        await settled(to, guest);
      }
      expect(await keysOf(a), when).toEqual(atSource);
      expect(await keysOf(b), when).toHaveLength(guest.disks.length);
      for (const disk of guest.disks)
        expect(await keysOf(b), when).toContain(await luksUuidOf(diskOn(b, disk).path, disk.format));
      expect(await b.libvirt.secretsLeft(), when).toEqual([]);
    }
    expect(kills).toBeGreaterThan(points.length / 2);
  },
);

it("the hook that looks whether storage is copied can be killed: the guest runs on, and the next try works", async () => {
  const { a, b } = hosts();
  const guest = await patternedGuest(hosts(), ["raw"]);
  await emptyVolumes(b, guest.disks);
  const migration = hosts().migrate(guest, a, b, COPY);
  await killFirst(b, /^\S*node \S+pre-migrate\.js .* started begin /);
  expect((await migration).exitCode).toBe(1);
  expect(await a.isRunning(guest)).toBe(true);
  await gone(guest);
  expect(await hosts().migrate(guest, a, b, COPY)).toMatchObject({ exitCode: 0, stderr: "" });
  await settled(b, guest);
  await expectPatterns(b, guest);
});

it("the persistent definition is put right by the reaper when the process that does it is killed", async () => {
  const { a, b } = hosts();
  const guest = await patternedGuest(hosts(), ["raw"]);
  const before = await a.blocks(guest);
  await emptyVolumes(b, guest.disks);
  const migration = hosts().migrate(guest, a, b, COPY);
  await killFirst(b, /^\S*node \S+luksmith\.js settle /);
  expect(await migration).toMatchObject({ exitCode: 0, stderr: "" });
  const running = await runningBlocks(b, guest);
  expect(running).not.toEqual(before);
  // what libvirt itself makes of it
  expect(await b.blocks(guest)).toEqual(before);

  await b.must("reap");

  expect(await b.blocks(guest)).toEqual(running);
  await b.stop(guest);
  await b.start(guest);
  await expectPatterns(b, guest);
});

it("a copy that is cut short is not taken for the guest's disk, and the next one begins anew", async () => {
  const { a, b } = hosts();
  const guest = await writer();
  await emptyVolumes(b, guest.disks);
  const first = hosts().migrate(guest, a, b, COPY, ...SLOWLY);
  await copying(guest);
  await hosts().cutNetwork();
  await sleep(500);
  const aborted = a.libvirt.exec(["virsh", "domjobabort", guest.uuid]);
  await sleep(500);
  await hosts().mendNetwork();
  await aborted;
  expect((await first).exitCode).toBe(1);
  await writesOn(a, guest);
  await gone(guest);
  const keys = await keysOf(b);
  expect(keys).toHaveLength(1);

  // half of the data is there, and a header and a key that fit
  expect((await refusedMigration(hosts(), guest)).code).toBe("STORAGE_NOT_COPIED");

  expect(await hosts().migrate(guest, a, b, COPY)).toMatchObject({ exitCode: 0, stderr: "" });
  const progress = await writesOn(b, guest);
  const { vda } = await settled(b, guest);
  expect(keys).toEqual([vda]);
  await b.stop(guest);
  using passphrase = (await b.key(vda)).passphrase;
  const { written } = await checkWriting(diskOn(b, guest.disks[0]!), passphrase);
  expect(written).toBeGreaterThanOrEqual(progress.written);
});

it("a target whose QEMU dies in the middle of a copy costs nothing but the time", async () => {
  const { a, b } = hosts();
  const guest = await patternedGuest(hosts(), ["raw"]);
  await emptyVolumes(b, guest.disks);
  const first = hosts().migrate(guest, a, b, COPY, ...SLOWLY);
  await copying(guest);
  await b.libvirt.exec(["sh", "-c", `kill -9 "$(cat /run/libvirt/qemu/${guest.name}.pid)"`]);
  expect((await first).exitCode).toBe(1);
  await expectPatterns(a, guest);
  await gone(guest);
  expect(await hosts().migrate(guest, a, b, COPY)).toMatchObject({ exitCode: 0, stderr: "" });
  await settled(b, guest);
  await expectPatterns(b, guest);
});

/** Runs at a, and writes. */
async function writer(): Promise<TestGuest> {
  const { a } = hosts();
  const guest = await defineWriter(a, { name: "web1", disks: await disksApart(hosts(), "web1", ["raw"]) });
  await a.must("protect", "web1");
  await a.start(guest);
  await writesOn(a, guest);
  return guest;
}

/** Waits until blocks of the disk have arrived. */
async function copying(guest: TestGuest): Promise<void> {
  await vi.waitFor(
    async () => {
      const job = await hosts().a.libvirt.virsh("blockjob", guest.uuid, "vda", "--raw");
      expect(Number(/cur=(\d+)/.exec(job)?.[1])).toBeGreaterThan(1024 * 1024);
    },
    { timeout: 20_000, interval: 100 },
  );
}

/** Waits until b knows nothing of the guest any more. */
async function gone(guest: TestGuest): Promise<void> {
  const { b } = hosts();
  await vi.waitFor(
    async () => {
      expect((await b.guests()).all).not.toContain(guest.uuid);
      expect(await b.libvirt.secretsLeft()).toEqual([]);
    },
    { timeout: 60_000, interval: 200 },
  );
}
