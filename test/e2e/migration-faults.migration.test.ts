import { expect, it, vi } from "vitest";
import type { ExecResult } from "../lab/libvirt-host.js";
import { twoHostsForThisFile } from "./support/each-test.js";
import type { TestGuest } from "./support/guests.js";
import { hookCall, savedArrival } from "./support/hook-calls.js";
import { inGuest } from "./support/in-guest.js";
import { keepWorld, sweep } from "./support/kill-sweep.js";
import { fillMemory, inTheMiddle, SLOW } from "./support/long-migration.js";
import { killFirst } from "./support/processes.js";

const hosts = twoHostsForThisFile();
const TIMEOUT = 120_000;
const DONE = { exitCode: 0, stderr: "" };

it("the target's hook can be killed at any call: what it left is reaped", { timeout: TIMEOUT }, async () => {
  const { a, b } = hosts();
  const guest = await runningOnA();
  const announced = await savedArrival(b, () => hosts().migrate(guest, a, b));
  const announce = hookCall(b, "pre-migrate", guest, announced);
  const reset = await keepWorld(b);
  let found = 0;
  await sweep({
    ...{ host: b, guest, process: announce, kills: 6 },
    reset: async () => {
      await b.must("reap");
      await reset();
    },
    goOn: async (when) => {
      found += (await b.libvirt.secretsLeft()).length;
      await b.must("reap");
      expect(await b.libvirt.secretsLeft(), when).toEqual([]);
      await expectRunsOnA(guest);
    },
  });
  expect(found).toBeGreaterThan(0);
  expect(await hosts().migrate(guest, a, b)).toMatchObject(DONE);
});

it("a migration whose hook is killed under libvirt fails, and the next one works", async () => {
  const { a, b } = hosts();
  const guest = await runningOnA();
  const migrating = hosts().migrate(guest, a, b);
  await killFirst(b, /^\S*node \S+pre-migrate\.js /);
  expect(await migrating).toMatchObject({
    exitCode: 1,
    stderr: expect.stringContaining("migrate begin") as string,
  });
  // of what a hook was killed over, nobody else knows
  await hosts().b.must("reap");
  await expectBackOnA(guest);
});

it("the target's QEMU is killed while memory is sent", async () => {
  const { b } = hosts();
  const { guest, migrating } = await sending();
  await killFirst(b, /qemu-system\S* .*guest=web1/);
  expect(await migrating).toMatchObject({ exitCode: 1 });
  await expectBackOnA(guest);
});

it("virsh is killed while memory is sent", { timeout: TIMEOUT }, async () => {
  const { a } = hosts();
  const { guest, migrating } = await sending();
  await killFirst(a, /virsh .*migrate/);
  expect(await migrating).toMatchObject({ exitCode: -1 });
  await targetGivesUp(guest);
  await expectBackOnA(guest);
});

it("the network is cut while memory is sent", { timeout: TIMEOUT }, async () => {
  const { a } = hosts();
  const { guest, migrating } = await sending();
  await hosts().cutNetwork();
  await expectRunsOnA(guest);
  // QEMU would send again for a quarter of an hour
  await a.libvirt.virsh("domjobabort", guest.uuid);
  expect(await migrating).toMatchObject({ exitCode: 1 });
  await targetGivesUp(guest);
  await hosts().mendNetwork();
  await expectBackOnA(guest);
});

it("the network is cut while libvirt itself migrates (--p2p)", { timeout: TIMEOUT }, async () => {
  const { guest, migrating } = await sending("--p2p");
  await hosts().cutNetwork();
  expect(await migrating).toMatchObject({ exitCode: 1 });
  await expectRunsOnA(guest);
  await targetGivesUp(guest);
  await hosts().mendNetwork();
  await expectBackOnA(guest);
});

/** Two disks on volumes that both hosts see; both have their keys. The guest has written to them. */
async function runningOnA({ memory }: { readonly memory?: "full" } = {}): Promise<TestGuest> {
  const { a } = hosts();
  const guest = await a.guest("web1", ["raw", "qcow2"]);
  await a.must("protect", "web1", "--now");
  await hosts().shareKeys();
  if (memory === "full") await fillMemory(a, guest);
  await a.start(guest);
  for (const disk of [0, 1]) await inGuest(a, guest, disk, "write -P 0x5a 1M 64k");
  return guest;
}

async function sending(...flags: string[]): Promise<{ guest: TestGuest; migrating: Promise<ExecResult> }> {
  const { a, b } = hosts();
  const guest = await runningOnA({ memory: "full" });
  const migrating = hosts().migrate(guest, a, b, ...SLOW, ...flags);
  await inTheMiddle(a, guest);
  return { guest, migrating };
}

/**
 * libvirtd ends the guest from its event loop when a client is lost: it answers nobody while our hook waits for it, which
 * therefore leaves the work behind.
 */
async function targetGivesUp({ uuid }: TestGuest): Promise<void> {
  const { b } = hosts();
  await vi.waitFor(async () => expect((await b.guests()).all).not.toContain(uuid), {
    timeout: 30_000,
    interval: 200,
  });
}

/** With its secrets, so that it could be given a disk again, and its data. */
async function expectRunsOnA(guest: TestGuest): Promise<void> {
  const { a } = hosts();
  expect(await a.isRunning(guest)).toBe(true);
  expect((await a.libvirt.secretsLeft()).sort()).toEqual(Object.values(await a.blocks(guest)).sort());
  for (const disk of [0, 1])
    expect(await inGuest(a, guest, disk, "read -P 0x5a 1M 64k")).toBe("read 65536/65536");
}

/** Nothing is left on b, where nobody reaps by hand, and the next try works. */
async function expectBackOnA(guest: TestGuest): Promise<void> {
  const { a, b } = hosts();
  await expectRunsOnA(guest);
  expect((await b.guests()).all).toEqual([]);
  await vi.waitFor(async () => expect(await b.libvirt.secretsLeft()).toEqual([]), {
    timeout: 15_000,
    interval: 200,
  });
  expect(await hosts().migrate(guest, a, b)).toMatchObject(DONE);
  for (const disk of [0, 1])
    expect(await inGuest(b, guest, disk, "read -P 0x5a 1M 64k")).toBe("read 65536/65536");
}
