import { beforeEach, describe, expect, it } from "vitest";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { Guest } from "../../src/host/host-adapter.js";
import type { CachedKey } from "../../src/keystore/cache/key-cache.js";
import type { KeyUuid } from "../../src/keystore/key-uuid.js";
import { Secret } from "../../src/secret/secret.js";
import { sha256 } from "../storage/workshop.js";
import { EventWorld, type WorldDisk } from "./event-world.js";

/** What this host's copies have, where it is not the keystore's own passphrase. */
let former: string | undefined;
let isAway: boolean;
let world: EventWorld;
let disk: WorldDisk;
let guest: Guest;

beforeEach(async () => {
  [former, isAway] = [undefined, false];
  const lookUp = async (_: unknown, uuid: KeyUuid): Promise<CachedKey | undefined> => {
    const key = await world.keystore.fetch(uuid);
    if (key === undefined || former === undefined) return key && { keystore: "local", since, key };
    key.passphrase.dispose();
    return { keystore: "local", since, key: { ...key, passphrase: Secret.own(Buffer.from(former)) } };
  };
  const nothing = () => Promise.resolve();
  world = new EventWorld(
    (real) => ({
      ...{ name: "local", type: "file", store: (key) => real.store(key), find: (query) => real.find(query) },
      ...{ update: (record) => real.update(record), change: (uuid, change) => real.change(uuid, change) },
      replace: (key, expected) => real.replace(key, expected),
      fetch: (uuid) => (isAway ? Promise.reject(away()) : real.fetch(uuid)),
    }),
    [],
    { lookUp, gaveOut: nothing, refused: nothing, settled: nothing },
  );
  [disk] = world.disks("vda") as [WorldDisk];
  guest = world.guest([disk]);
  await world.startOnce(guest, [disk]);
  isAway = true;
});

const since = new Date("2026-01-01T00:00:00Z");

function away(): LuksmithError {
  return new LuksmithError("KEYSTORE_UNAVAILABLE", {
    what: "keystore local does not answer",
    why: "nothing listens there",
  });
}

describe("a start whose keystore is away", () => {
  it("is with the copy that this host has", async () => {
    expect(await world.handle({ event: "pre-start", cause: "start", guest })).toEqual(["provide-secrets"]);
    expect(world.host.passphrases.get(disk.uuid)).toBe(await world.passphrase(disk.uuid));
  });

  it("is refused with a copy of a former passphrase, which is no damage", async () => {
    former = "of a former rotation";
    const before = sha256(disk.path);
    const started = world.handle({ event: "pre-start", cause: "start", guest });
    await expect(started).rejects.toMatchObject({
      code: "PASSPHRASE_REJECTED",
      message: expect.stringContaining("cannot start guest web1: the copy of key") as string,
      why: expect.stringContaining("may have got a new passphrase") as string,
      hint: expect.stringContaining("when the keystore answers (nothing listens there)") as string,
    });
    expect(world.host.passphrases.size).toBe(0);
    expect(sha256(disk.path)).toBe(before);
  });
});
