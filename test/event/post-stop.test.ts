import { describe, expect, it } from "vitest";
import type { Guest, LifecycleEvent } from "../../src/host/host-adapter.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { Secret } from "../../src/secret/secret.js";
import { SPEC } from "../storage/workshop.js";
import { EventWorld } from "./event-world.js";

const stop = (guest: Guest): LifecycleEvent => ({ event: "post-stop", cause: "stop", guest });

/** A world whose keystore is not there at all. */
const withoutKeystore = () =>
  new EventWorld(() => {
    throw new Error("the keystore must not be asked");
  });

async function provide(world: EventWorld, guest: Pick<Guest, "id">): Promise<void> {
  using passphrase = Secret.randomPassphrase();
  await world.host.provideSecrets(guest, [{ uuid: newKeyUuid(), disk: "vda", passphrase }]);
}

const MAPPING = "luksmith-vdb-00000000-0000-4000-8000-000000000001";

async function openFor(world: EventWorld, { id, name }: Guest): Promise<void> {
  using passphrase = Secret.randomPassphrase();
  const volume = { kind: "block", path: "/dev/vg/vdb", format: "raw" } as const;
  const request = { name: MAPPING, volume, uuid: newKeyUuid(), spec: SPEC, guest: { id, name }, disk: "vdb" };
  await world.mappings.open(request, passphrase);
}

describe("a stop", () => {
  it("takes the guest's host secrets away, and nobody else's, without a keystore", async () => {
    const world = withoutKeystore();
    const [guest, other] = [world.guest([]), world.guest([])];
    await provide(world, guest);
    await provide(world, other);
    expect(await world.handle(stop(guest))).toEqual(["withdraw-secrets"]);
    expect(await world.host.providedSecrets()).toMatchObject([{ guestId: other.id }]);
  });

  it("has nothing to do the second time", async () => {
    const world = new EventWorld();
    const guest = world.guest([]);
    await provide(world, guest);
    await world.handle(stop(guest));
    expect(await world.handle(stop(guest))).toEqual([]);
  });

  it("keeps the keys, also of a disk that was never formatted", async () => {
    const world = new EventWorld();
    const disks = world.disks("vda");
    const guest = world.guest(disks);
    await world.storePending(guest, disks);
    await world.handle(stop(guest));
    expect(await world.states()).toEqual(["pending"]);
  });

  it("closes what was opened for it, though libvirt cannot tell its secrets, and says that it could not", async () => {
    const world = new EventWorld();
    const guest = world.guest([]);
    await openFor(world, guest);
    world.host.isDown = true;
    await expect(world.handle(stop(guest))).rejects.toMatchObject({ code: "HOST_UNAVAILABLE" });
    expect(world.leftBehind).toEqual([{ command: "reap" }]);
    expect(world.mappings.opened.size).toBe(0);
  });

  it("closes nobody else's mapping", async () => {
    const world = withoutKeystore();
    const [guest, other] = [world.guest([]), world.guest([])];
    await openFor(world, other);
    expect(await world.handle(stop(guest))).toEqual([]);
    expect(world.mappings.opened.size).toBe(1);
    expect(await world.handle(stop(other))).toEqual(["close-mapping"]);
    expect(world.mappings.opened.size).toBe(0);
  });

  it("leaves a mapping that somebody has open, and says who closes it later", async () => {
    const world = withoutKeystore();
    const guest = world.guest([]);
    await openFor(world, guest);
    world.mappings.busy.add(MAPPING);
    await world.handle(stop(guest));
    expect(world.mappings.claims(guest.id)).toHaveLength(1);
    expect(world.logger.warnings).toMatchObject([
      { message: expect.stringContaining("luksmith reap") as string },
    ]);
  });

  it("is planned without a change", async () => {
    const world = new EventWorld();
    const guest = world.guest([]);
    await provide(world, guest);
    expect(await world.plan(stop(guest))).toEqual(["withdraw-secrets"]);
    expect(await world.host.providedSecrets(guest)).toHaveLength(1);
  });
});
