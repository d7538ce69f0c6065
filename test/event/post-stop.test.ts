import { describe, expect, it } from "vitest";
import type { Guest, LifecycleEvent } from "../../src/host/host-adapter.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { Secret } from "../../src/secret/secret.js";
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

  it("is planned without a change", async () => {
    const world = new EventWorld();
    const guest = world.guest([]);
    await provide(world, guest);
    expect(await world.plan(stop(guest))).toEqual(["withdraw-secrets"]);
    expect(await world.host.providedSecrets(guest)).toHaveLength(1);
  });
});
