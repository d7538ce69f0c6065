import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import { startTang, type TangServer } from "../../lab/tang.js";
import { tang } from "../file/protectors.fixture.js";
import { activeRecord, CacheWorld, passphraseOf, settingsUnder } from "./cache-world.js";

const AWAY = "KEYSTORE_UNAVAILABLE";

describe("a cache that Tang seals", () => {
  let server: TangServer;
  beforeAll(async () => {
    server = await startTang();
  });
  afterAll(() => server[Symbol.asyncDispose]());

  it("keeps no start waiting whose keystore answers while Tang hangs, and is made when Tang is back", async () => {
    const world = new CacheWorld();
    world.settings = settingsUnder(tang([server]));
    const record = activeRecord();
    await world.outcome(record);
    world.hoursLater(12);
    server.freeze();
    const other = activeRecord();
    const keyring = world.keyring(other);
    const before = performance.now();
    const located = await keyring.locate(keyUuidOf(other));
    expect(performance.now() - before).toBeLessThan(1500);
    expect(located).toMatchObject({ kind: "found", keystore: { name: "vault1" } });
    await keyring.settled(500);
    expect(performance.now() - before).toBeLessThan(3000);
    expect(world.warnings).toEqual([`no copy of key ${other.uuid} is kept: it took longer than 0.5 s`]);

    server.thaw();
    await world.outcome(other);
    world.moods["vault1"] = AWAY;
    for (const copied of [record, other])
      expect(await world.outcome(copied)).toBe(`cache: ${passphraseOf(copied)}`);
  });
});
