import { statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { secondsBetween, systemInstant } from "../../../src/keystore/cache/instant.js";
import { activeRecord, CacheWorld, passphraseOf, settingsWith } from "./cache-world.js";

const AWAY = "KEYSTORE_UNAVAILABLE";

/** A key that was copied when the world began. */
async function copied(hours = 24) {
  const world = new CacheWorld({ hours });
  const record = activeRecord();
  await world.outcome(record);
  world.moods["vault1"] = AWAY;
  return { world, record, fromCache: `cache: ${passphraseOf(record)}` };
}

describe("the age of a copy", () => {
  it("is up when the hours of its profile are", async () => {
    const { world, record, fromCache } = await copied(2);
    world.later(2 * 3600 - 1);
    expect(await world.outcome(record)).toBe(fromCache);
    world.later(1);
    expect(await world.copies()).toEqual(["sealed expired"]);
    expect(await world.outcome(record)).toBe(AWAY);
    expect(await world.copies()).toEqual([]);
    expect(world.warnings).toEqual([expect.stringMatching(/too old/)]);
  });

  it("follows the hours that the profile has now", async () => {
    const { world, record, fromCache } = await copied(2);
    world.hoursLater(1);
    world.settings = settingsWith({ cache: "sealed", cacheHours: 1 });
    expect(await world.copies()).toEqual(["sealed expired"]);
    world.settings = settingsWith({ cache: "sealed", cacheHours: 100 });
    world.hoursLater(98);
    expect(await world.outcome(record)).toBe(fromCache);
  });

  it("does not change for a clock that is set back while the host is up", async () => {
    const { world, record, fromCache } = await copied();
    world.hoursLater(23);
    world.now = { ...world.now, at: new Date("2020-01-01T00:00:00Z") };
    expect(await world.outcome(record)).toBe(fromCache);
    world.later(3600);
    expect(await world.outcome(record)).toBe(AWAY);
  });

  it("is too great after a restart with a clock that went backwards", async () => {
    const { world, record } = await copied();
    world.now = { at: new Date("2026-02-28T23:59:59Z"), boot: "boot-2", uptime: 60 };
    expect(await world.outcome(record)).toBe(AWAY);
    expect(await world.copies()).toEqual([]);
  });

  it("goes on over a restart", async () => {
    const { world, record, fromCache } = await copied();
    world.now = { at: new Date("2026-03-01T23:59:59Z"), boot: "boot-2", uptime: 60 };
    expect(await world.outcome(record)).toBe(fromCache);
    world.now = { at: new Date("2026-03-02T00:00:00Z"), boot: "boot-2", uptime: 61 };
    expect(await world.outcome(record)).toBe(AWAY);
  });

  it("is that of the last time that the keystore gave out the key, but for an eighth", async () => {
    const { world, record, fromCache } = await copied(8);
    const file = join(world.places[0]!.path, "records", `${record.uuid}.json`);
    const written = () => statSync(file).ino;
    const first = written();
    world.moods["vault1"] = "answers";
    world.later(3599);
    await world.outcome(record);
    expect(written()).toBe(first);
    await world.outcome(record, "renew");
    const renewed = written();
    expect(renewed).not.toBe(first);
    world.later(3600);
    await world.outcome(record);
    expect(written()).not.toBe(renewed);
    world.moods["vault1"] = AWAY;
    world.later(8 * 3600 - 1);
    expect(await world.outcome(record)).toBe(fromCache);
  });

  it("does not keep a copy from being written anew when its record has changed", async () => {
    const { world, record, fromCache } = await copied();
    world.moods["vault1"] = "answers";
    const moved = { ...record, volume: "/srv/vm/moved.img" };
    await world.outcome(moved);
    world.moods["vault1"] = AWAY;
    expect(await world.locate(record)).toMatchObject({ key: { record: moved } });
    expect(await world.outcome(record)).toBe(fromCache);
  });

  it("is looked at once an hour for all copies, whichever key is wanted, and when the settings change", async () => {
    const world = new CacheWorld({ hours: 1 });
    await world.outcome(activeRecord());
    world.later(1800);
    world.settings = settingsWith({ cache: "sealed", cacheHours: 1 }, { name: "new" });
    await world.outcome(activeRecord());
    world.later(1800);
    await world.outcome(activeRecord());
    // the second one looked, and found nothing; the third one did not look
    expect((await world.copies()).sort()).toEqual(["sealed expired", "sealed usable", "sealed usable"]);
    world.later(1800);
    await world.outcome(activeRecord());
    expect(await world.copies()).toEqual(["sealed usable", "sealed usable"]);
    expect(world.warnings).toEqual([]);
  });
});

describe("time between two moments", () => {
  const then = { at: new Date(1000_000), boot: "a", uptime: 50 };
  it.each([
    ["within one boot, by both clocks", { at: new Date(1010_000), boot: "a", uptime: 60 }, 10],
    ["within one boot, by the calendar", { at: new Date(1010_000), boot: "a", uptime: 51 }, 10],
    ["within one boot, by the uptime", { at: new Date(0), boot: "a", uptime: 51 }, 1],
    ["over a restart", { at: new Date(1010_000), boot: "b", uptime: 1 }, 10],
    ["over a restart into the past", { at: new Date(999_999), boot: "b", uptime: 100 }, Infinity],
    ["of which one is no date", { at: new Date(Number.NaN), boot: "b", uptime: 1 }, Infinity],
  ])("%s", (_, now, seconds) => {
    expect(secondsBetween(then, now)).toBe(seconds);
  });

  it("is that of this host", () => {
    const now = systemInstant();
    expect(now.boot).toMatch(/^[0-9a-f-]{36}$/);
    expect(now.uptime).toBeGreaterThan(0);
    expect(secondsBetween(now, systemInstant())).toBeLessThan(60);
  });
});
