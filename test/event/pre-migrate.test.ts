import { rmSync, truncateSync, writeFileSync } from "node:fs";
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

describe("an incoming migration over shared storage", () => {
  it("gets the passphrases of disks that are encrypted, and is noted", async () => {
    const { world, disks, guest } = migratingGuest();
    await world.startOnce(guest, disks);
    world.runner.commands.length = 0;
    expect(await world.handle(migrate(guest))).toEqual(["note-arrival", "provide-secrets"]);
    for (const { uuid } of disks) expect(world.host.passphrases.get(uuid)).toBe(await world.passphrase(uuid));
    expect(world.arrivals.find(guest)).toMatchObject({
      guest: { id: guest.id },
      copies: [],
      stage: "announced",
    });
    expect(world.host.migration.answers).toEqual([]);
    // no process is started, and nobody is asked for all host secrets
    expect(world.runner.lines).toEqual([]);
  });

  it("leaves nothing of a guest that is none of ours", async () => {
    const { world, disks, guest } = migratingGuest();
    for (const { uuid, path } of disks) {
      world.host.migration.foreignSecrets.add(uuid);
      writeFileSync(path, "not even looked at");
    }
    expect(await world.handle(migrate(guest))).toEqual([]);
    expect(world.arrivals.list()).toEqual([]);
  });

  it("is refused where a disk is asked for whose secret somebody else has given to the host", async () => {
    const { world, disks, guest } = migratingGuest(FLAVOR_ASKS);
    for (const { uuid } of disks) world.host.migration.foreignSecrets.add(uuid);
    const before = disks.map(({ path }) => sha256(path));
    expect(await codeOf(world.handle(migrate(guest)))).toBe("VOLUME_NOT_FORMATTED");
    expect([await world.states(), disks.map(({ path }) => sha256(path))]).toEqual([[], before]);
  });

  it.each([
    ["is not there", "VOLUME_NOT_FOUND", (path: string) => rmSync(path)],
    ["holds data", "VOLUME_NOT_EMPTY", (path: string) => writeFileSync(path, "data".repeat(4096))],
    [
      "is not proven to be empty",
      "VOLUME_NOT_PROVEN_EMPTY",
      (path: string) => writeFileSync(path, Buffer.alloc(8 * 1024 * 1024)),
    ],
  ] as const)(
    "is refused where a volume %s, and nothing is made for the other disk",
    async (_, code, spoil) => {
      const { world, disks, guest } = migratingGuest();
      spoil(disks[1]!.path);
      const before = sha256(disks[0]!.path);
      const error = await world.handle(migrate(guest)).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({
        code,
        message: expect.stringContaining("cannot take over guest web1") as string,
      });
      expect(sha256(disks[0]!.path)).toBe(before);
      expect([await world.states(), world.arrivals.list()]).toEqual([[], []]);
    },
  );

  it("is refused with the key that is missing, where the volume has its header", async () => {
    const { world, disks, guest } = migratingGuest();
    await world.startOnce(guest, disks);
    for (const { uuid } of disks) await world.keystore.delete(uuid);
    expect(await codeOf(world.handle(migrate(guest)))).toBe("KEY_NOT_FOUND");
    expect(world.arrivals.list()).toEqual([]);
  });

  it("formats nothing at the start that libvirt fires after it", async () => {
    const { world, disks, guest } = migratingGuest(FLAVOR_ASKS);
    await world.startOnce(guest, disks);
    await world.handle(migrate(guest));
    expect(await world.handle({ event: "pre-start", cause: "start", guest })).toEqual(["provide-secrets"]);
    const [vda] = disks;
    rmSync(vda!.path);
    writeFileSync(vda!.path, "");
    truncateSync(vda!.path, 8 * 1024 * 1024);
    await world.keystore.delete(vda!.uuid);
    const before = sha256(vda!.path);
    expect(await codeOf(world.handle({ event: "pre-start", cause: "start", guest }))).toBe(
      "VOLUME_NOT_FORMATTED",
    );
    expect(sha256(vda!.path)).toBe(before);
  });
});
