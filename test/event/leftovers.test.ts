import { join } from "node:path";
import { expect, it, vi } from "vitest";
import type { Guest, LifecycleEvent } from "../../src/host/host-adapter.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { GuestLocks } from "../../src/plan/guest-locks.js";
import { Secret } from "../../src/secret/secret.js";
import { SPEC } from "../storage/workshop.js";
import { EventWorld } from "./event-world.js";

const event = (cause: "start" | "restore" | "reconnect", guest: Guest): LifecycleEvent => ({
  ...{ event: "pre-start", cause, guest },
});
const migrate = (guest: Guest): LifecycleEvent => ({ event: "pre-migrate", cause: "migrate", guest });

/** A guest that has started before. */
async function startedGuest() {
  const world = new EventWorld();
  const disks = world.disks("vda");
  const guest = world.guest(disks);
  await world.storePending(guest, disks);
  await world.handle(event("start", guest));
  return { world, guest };
}

/** A mapping of a disk that the guest does not have any more. */
async function openOld(world: EventWorld, { id, name }: Guest): Promise<string> {
  const mapping = `luksmith-old-${newKeyUuid()}`;
  using passphrase = Secret.randomPassphrase();
  const volume = { kind: "block", path: "/dev/vg/old", format: "raw" } as const;
  await world.mappings.open(
    { name: mapping, volume, uuid: newKeyUuid(), spec: SPEC, guest: { id, name }, disk: "vdz" },
    passphrase,
  );
  return mapping;
}

it.each([
  ["start", (guest: Guest) => event("start", guest)],
  ["restore", (guest: Guest) => event("restore", guest)],
])("a %s closes the mappings that a crashed one left, of this guest alone", async (_, eventOf) => {
  const { world, guest } = await startedGuest();
  const [old, other] = [await openOld(world, guest), await openOld(world, world.guest([]))];
  expect(await world.plan(eventOf(guest))).toEqual(["close-mapping", "provide-secrets"]);
  expect(await world.handle(eventOf(guest))).toEqual(["close-mapping", "provide-secrets"]);
  expect([...world.mappings.opened.keys()]).toEqual([other]);
  expect(old).not.toBe(other);
});

it("an incoming migration takes nothing from a guest of its id, which may run here", async () => {
  const { world, guest } = await startedGuest();
  const old = await openOld(world, guest);
  const provide = vi.spyOn(world.host, "provideSecrets");
  expect(await world.handle(migrate(guest))).toEqual(["note-arrival", "provide-secrets"]);
  expect([...world.mappings.opened.keys()]).toEqual([old]);
  expect(provide.mock.calls.map((call) => (call as unknown[])[2])).toEqual(["keep"]);
});

it("a start is announced to a reaper that watches the guest, before anything is given", async () => {
  const { world, guest } = await startedGuest();
  const locks = new GuestLocks(world.runner, join(world.directory, "lock"));
  const reap = async () => await locks.reap(guest, since, () => Promise.resolve("reaped"));
  const since = await locks.watch(guest);
  expect(await reap()).toBe("reaped");
  const provide = vi.spyOn(world.host, "provideSecrets");
  provide.mockImplementation(async () => expect(await reap()).toBeUndefined());
  await world.handle(event("start", guest));
  expect(provide).toHaveBeenCalledOnce();
});

it("a leftover that somebody has open is warned of, and keeps no guest from starting", async () => {
  const { world, guest } = await startedGuest();
  world.mappings.busy.add(await openOld(world, guest));
  expect(await world.handle(event("start", guest))).toEqual(["close-mapping", "provide-secrets"]);
  expect(world.logger.warnings.map(({ message }) => message).join()).toContain("luksmith reap");
});

it("a libvirtd that restarts under a running guest closes nothing", async () => {
  const { world, guest } = await startedGuest();
  const mapping = await openOld(world, guest);
  expect(await world.handle(event("reconnect", guest))).toEqual(["provide-secrets"]);
  expect([...world.mappings.opened.keys()]).toEqual([mapping]);
});

it("every start withdraws the host secrets that it does not need, and a reconnect none", async () => {
  const { world, guest } = await startedGuest();
  const provide = vi.spyOn(world.host, "provideSecrets");
  await world.handle(event("start", guest));
  await world.handle(event("restore", guest));
  await world.handle(event("reconnect", guest));
  expect(provide.mock.calls.map((call) => (call as unknown[])[2])).toEqual(["withdraw", "withdraw", "keep"]);
});
