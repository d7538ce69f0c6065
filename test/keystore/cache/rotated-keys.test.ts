import { describe, expect, it } from "vitest";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import { activeRecord, CacheWorld, passphraseOf } from "./cache-world.js";

const AWAY = "KEYSTORE_UNAVAILABLE";
const FORMER = activeRecord();
const ROTATED = { ...FORMER, generation: 2, rotatedAt: "2026-03-01T00:00:00.000Z" };

describe("the copy of a key that was rotated", () => {
  it.each(["memory", "sealed"] as const)(
    "is of the new passphrase once it was given out (%s)",
    async (cache) => {
      const world = new CacheWorld({ cache });
      await world.locate(FORMER);
      await world.locate(ROTATED);
      world.moods["vault1"] = AWAY;
      expect(await world.outcome(FORMER)).toBe(`cache: ${passphraseOf(ROTATED)}`);
      expect(await world.copies()).toEqual([`${cache} usable`]);
    },
  );

  it("is replaced by a command that makes no copies, and made by none that had none", async () => {
    const world = new CacheWorld();
    await world.locate(ROTATED, "look-up");
    expect(await world.copies()).toEqual([]);
    await world.locate(FORMER);
    await world.locate(ROTATED, "look-up");
    world.moods["vault1"] = AWAY;
    expect(await world.outcome(FORMER, "look-up")).toBe(`cache: ${passphraseOf(ROTATED)}`);
  });

  it("is refreshed by who has rotated it", async () => {
    const world = new CacheWorld();
    await world.locate(FORMER);
    const keyring = world.keyring(ROTATED, "look-up");
    await keyring.refreshCopy(keyUuidOf(ROTATED));
    await keyring.settled();
    world.moods["vault1"] = AWAY;
    expect(await world.outcome(FORMER)).toBe(`cache: ${passphraseOf(ROTATED)}`);
  });

  it("is forgotten if the keystore does not answer just then", async () => {
    const world = new CacheWorld();
    await world.locate(FORMER);
    world.moods["vault1"] = AWAY;
    await world.keyring(ROTATED, "look-up").refreshCopy(keyUuidOf(ROTATED));
    expect(await world.outcome(FORMER)).toBe(AWAY);
    expect(await world.copies()).toEqual([]);
  });

  it("is never made of a former passphrase's own record", async () => {
    const world = new CacheWorld();
    const archived = { of: FORMER.uuid, generation: 1, at: FORMER.createdAt };
    await world.locate({ ...activeRecord(), state: "archived", archived });
    expect(await world.copies()).toEqual([]);
  });
});
