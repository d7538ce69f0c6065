import { writeFileSync } from "node:fs";
import { describe, expect, it, vi } from "vitest";
import { guestFromDomainXml } from "../../src/guest-config/domain-guest.js";
import type { Guest, LifecycleEvent } from "../../src/host/host-adapter.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { FLAVOR_ASKS } from "../e2e/support/guests.js";
import { codeOf } from "../storage/workshop.js";
import { EventWorld, type WorldDisk } from "./event-world.js";

const start = (guest: Guest): LifecycleEvent => ({ event: "pre-start", cause: "start", guest });
const stop = (guest: Guest): LifecycleEvent => ({ event: "post-stop", cause: "stop", guest });
const reconnect = (guest: Guest): LifecycleEvent => ({ event: "pre-start", cause: "reconnect", guest });

/** Guests whose disks are new and lie over one volume of a third, whose key is of that one's record. */
async function clones(metadata = "") {
  const world = new EventWorld();
  const [template] = world.disks("vda");
  await world.storePending(world.guest([template!]), [template!]);
  const clone = async (dev: string) => {
    const disks: WorldDisk[] = world.disks(dev).map((disk) => ({ ...disk, base: template!.uuid }));
    const guest = world.guest(disks, metadata);
    await world.storePending(guest, disks);
    return { guest, own: disks[0]!.uuid };
  };
  return { world, base: template!.uuid, first: await clone("vdb"), second: await clone("vdc") };
}

const damage = (world: EventWorld, uuid: string) =>
  writeFileSync(`${world.directory}/keystore/records/${uuid}.json`, "{", { mode: 0o600 });

describe("a guest whose disk lies over an encrypted base", () => {
  it("starts with the base's passphrase as well, and the base's record stays as it is", async () => {
    const { world, base, first } = await clones();
    expect(await world.handle(start(first.guest))).toEqual(["format", "activate-key", "provide-secrets"]);
    expect(world.host.passphrases.get(base)).toBe(await world.passphrase(base));
    expect(world.host.passphrases.get(first.own)).toBe(await world.passphrase(first.own));
    expect(await world.states()).toEqual(["active", "pending", "pending"]);
  });

  it("leaves the base's passphrase to another one that still runs", async () => {
    const { world, base, first, second } = await clones();
    await world.handle(start(first.guest));
    await world.handle(start(second.guest));
    await world.handle(stop(first.guest));
    expect([...world.host.passphrases.keys()].sort()).toEqual([base, second.own].sort());
    await world.handle(stop(second.guest));
    expect(world.host.passphrases.size).toBe(0);
  });

  it("that cannot start takes nothing away from another one", async () => {
    const { world, base, first, second } = await clones();
    await world.handle(start(first.guest));
    world.host.refusedDisk = "vdc";
    expect(await codeOf(world.handle(start(second.guest)))).toBe("HOST_SECRET_FAILED");
    expect([...world.host.passphrases.keys()].sort()).toEqual([base, first.own].sort());
  });

  it("does not start without the base's key, and gives the host nothing", async () => {
    const { world, base, first } = await clones();
    damage(world, base);
    expect(await codeOf(world.handle(start(first.guest)))).toBe("KEY_CORRUPT");
    expect(world.host.passphrases.size).toBe(0);
    expect(
      await world.handle({ event: "pre-migrate", cause: "migrate", guest: first.guest }).catch(String),
    ).toContain("lies over a volume");
  });

  it("does not start if it is asked for and no keystore has the base's key", async () => {
    const { world, base, first } = await clones(FLAVOR_ASKS);
    await world.keystore.delete(base);
    expect(await codeOf(world.handle(start(first.guest)))).toBe("KEY_NOT_FOUND");
  });

  it("gets both passphrases again when the host manager has lost them, and one if that is all there is", async () => {
    const { world, base, first, second } = await clones();
    expect(await world.handle(reconnect(first.guest))).toEqual(["provide-secrets"]);
    expect([...world.host.passphrases.keys()].sort()).toEqual([base, first.own].sort());

    const warn = vi.spyOn(world.logger, "warn");
    damage(world, base);
    await world.handle(reconnect(second.guest));
    expect(world.host.passphrases.has(second.own)).toBe(true);
    expect(warn).toHaveBeenCalledExactlyOnceWith(expect.any(String), expect.objectContaining({ key: base }));
  });

  it("gets the base's passphrase again if its own file is a plain snapshot's", async () => {
    const { world, base } = await clones();
    const [disk] = world.disks("vdd");
    const { configuration } = world.guest([{ ...disk!, base, uuid: newKeyUuid() }]);
    const snapshot = guestFromDomainXml(configuration.replace(/<encryption .*?<\/encryption>/, ""));
    expect(await world.handle(reconnect(snapshot))).toEqual(["provide-secrets"]);
    expect([...world.host.passphrases.keys()]).toEqual([base]);
  });
});
