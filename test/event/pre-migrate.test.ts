import { describe, expect, it } from "vitest";
import type { Guest, LifecycleEvent } from "../../src/host/host-adapter.js";
import { FLAVOR_ASKS } from "../e2e/support/guests.js";
import { codeOf, sha256 } from "../storage/workshop.js";
import { EventWorld } from "./event-world.js";

const migrate = (guest: Guest): LifecycleEvent => ({ event: "pre-migrate", cause: "migrate", guest });

function migratingGuest(metadata = "") {
  const world = new EventWorld();
  const disks = world.disks("vda", "vdb");
  const guest = world.guest(disks, metadata);
  return { world, disks, guest };
}

describe("an incoming migration", () => {
  it("gets the passphrases of disks that are encrypted", async () => {
    const { world, disks, guest } = migratingGuest();
    await world.storePending(guest, disks);
    await world.handle({ event: "pre-start", cause: "start", guest });
    await world.host.withdrawSecrets(
      guest,
      disks.map(({ uuid }) => uuid),
    );
    expect(await world.handle(migrate(guest))).toEqual(["provide-secrets"]);
    for (const { uuid } of disks) expect(world.host.passphrases.get(uuid)).toBe(await world.passphrase(uuid));
  });

  it.each(["of a disk that is pending", "of a disk that an orchestrator defined"])(
    "is refused while the source runs on, instead of a format %s",
    async (which) => {
      const { world, disks, guest } = migratingGuest(which.includes("pending") ? "" : FLAVOR_ASKS);
      if (which.includes("pending")) await world.storePending(guest, disks);
      const [states, hashes] = [await world.states(), disks.map(({ path }) => sha256(path))];
      expect(await codeOf(world.handle(migrate(guest)))).toBe("VOLUME_NOT_FORMATTED");
      expect([await world.states(), disks.map(({ path }) => sha256(path))]).toEqual([states, hashes]);
      expect(world.host.passphrases.size).toBe(0);
    },
  );
});
