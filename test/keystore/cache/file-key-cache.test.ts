import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import { keyCacheFor } from "../../../src/keystore/cache/index.js";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import { treeOf } from "../../fs/tree.js";
import { filesBelow } from "../file/file-keystore.fixture.js";
import { activeRecord, CacheWorld, passphraseOf, settingsWith } from "./cache-world.js";

const AWAY = "KEYSTORE_UNAVAILABLE";

describe.each(["memory", "sealed"] as const)("the cache (%s)", (cache) => {
  it("has the key of a keystore that is away, and says since when", async () => {
    const world = new CacheWorld({ cache });
    const record = activeRecord();
    expect(await world.outcome(record)).toBe(`vault1: ${passphraseOf(record)}`);
    world.moods["vault1"] = AWAY;
    world.hoursLater(1);
    const located = await world.locate(record);
    expect(located).toMatchObject({
      ...{ kind: "found", keystore: { name: "vault1" }, key: { record } },
      cached: { since: new Date("2026-03-01T00:00:00Z"), error: { code: AWAY } },
    });
    expect(await world.outcome(record)).toBe(`cache: ${passphraseOf(record)}`);
    expect(await world.copies()).toEqual([`${cache} usable`]);
    expect(world.warnings).toEqual([]);
  });

  it("has no key that it was not given", async () => {
    const world = new CacheWorld({ cache });
    await world.outcome(activeRecord());
    world.moods["vault1"] = AWAY;
    expect(await world.outcome(activeRecord())).toBe(AWAY);
  });

  it("keeps nothing of a passphrase in clear, and nothing that others can read", async () => {
    const world = new CacheWorld({ cache });
    const record = activeRecord();
    await world.outcome(record);
    const directory = world.places.find(({ medium }) => medium === cache)!.path;
    const passphrase = Buffer.from(passphraseOf(record));
    const files = filesBelow(directory);
    expect(files).toHaveLength(2);
    for (const file of files) {
      const bytes = readFileSync(file);
      expect(bytes.includes(passphrase)).toBe(false);
      expect(bytes.includes(passphrase.toString("base64").slice(0, -4))).toBe(false);
    }
    const modes = Object.values(treeOf(directory)).map((line) => line.split(" ")[0]);
    expect(new Set(modes)).toEqual(new Set(["600", "700"]));
  });
});

describe("the cache", () => {
  it("does not exist while every profile has it off", async () => {
    const world = new CacheWorld({ cache: "off" });
    const record = activeRecord();
    await world.outcome(record);
    expect(world.places.filter(({ path }) => existsSync(path))).toEqual([]);
    world.moods["vault1"] = AWAY;
    expect(await world.outcome(record)).toBe(AWAY);
    expect(world.places.filter(({ path }) => existsSync(path))).toEqual([]);
    expect(world.warnings).toEqual([]);
  });

  it("is for the profiles that want it", async () => {
    const world = new CacheWorld({ cache: "off" });
    world.settings = settingsWith({}, { name: "remote", cache: "sealed" }, { name: "fast", cache: "memory" });
    const records = [undefined, "default", "remote", "fast", "removed"].map((profile) =>
      activeRecord(profile === undefined ? {} : { profile }),
    );
    for (const record of records) await world.outcome(record);
    expect((await world.copies()).sort()).toEqual(["memory usable", "sealed usable"]);
    world.moods["vault1"] = AWAY;
    const outcomes = [];
    for (const record of records) outcomes.push((await world.outcome(record)).split(":")[0]);
    expect(outcomes).toEqual([AWAY, AWAY, "cache", "cache", AWAY]);
  });

  it("takes a record without a profile for one of the default profile", async () => {
    const world = new CacheWorld();
    const record = activeRecord();
    delete record.profile;
    await world.outcome(record);
    world.moods["vault1"] = AWAY;
    expect(await world.outcome(record)).toBe(`cache: ${passphraseOf(record)}`);
  });

  it("never has a key that is pending: formatting needs the keystore", async () => {
    const world = new CacheWorld();
    const record = activeRecord();
    await world.outcome({ ...record, state: "pending" });
    expect(await world.copies()).toEqual([]);
    await world.outcome(record);
    expect(await world.copies()).toEqual(["sealed usable"]);
    await world.outcome({ ...record, state: "pending" });
    expect(await world.copies()).toEqual([]);
  });

  it("never has a key of the keystore on this host", async () => {
    const world = new CacheWorld();
    world.settings = { ...world.settings, keystores: [{ name: "vault1", type: "file" }] };
    await world.outcome(activeRecord());
    expect(await world.copies()).toEqual([]);
  });

  it("has the key of a keystore that nobody could ask, since an agent has not written the credential yet", async () => {
    const world = new CacheWorld();
    const record = activeRecord();
    await world.outcome(record);
    world.moods["vault1"] = "KEYSTORE_CREDENTIAL_MISSING";
    expect(await world.locate(record)).toMatchObject({
      ...{ kind: "found", keystore: { name: "vault1" } },
      cached: { error: { code: "KEYSTORE_CREDENTIAL_MISSING" } },
    });
    expect(await world.copies()).toEqual(["sealed usable"]);
  });

  it.each(["unknown", "KEYSTORE_FORBIDDEN", "KEYSTORE_AUTH_FAILED", "KEY_DELETED"] as const)(
    "forgets a key when its keystore says %s",
    async (mood) => {
      const world = new CacheWorld();
      const record = activeRecord();
      await world.outcome(record);
      world.moods["vault1"] = mood;
      expect(await world.outcome(record)).toBe(mood);
      expect(await world.copies()).toEqual([]);
      world.moods["vault1"] = AWAY;
      expect(await world.outcome(record)).toBe(AWAY);
    },
  );

  it.each(["KEYSTORE_TLS_FAILED", "KEYSTORE_ANSWER_INVALID", "KEY_CORRUPT", "PERMISSIONS_UNSAFE"] as const)(
    "is not used for %s, and keeps the copy",
    async (mood) => {
      const world = new CacheWorld();
      const record = activeRecord();
      await world.outcome(record);
      world.moods["vault1"] = mood;
      expect(await world.outcome(record)).toBe(mood);
      expect(await world.copies()).toEqual(["sealed usable"]);
    },
  );

  it("speaks for the keystore that gave out the key, and for no other", async () => {
    const world = new CacheWorld();
    const record = activeRecord();
    await world.outcome(record);
    // the other one may say what it likes
    for (const mood of ["unknown", "KEYSTORE_FORBIDDEN", AWAY] as const) {
      Object.assign(world.moods, { vault1: AWAY, vault2: mood });
      expect(await world.outcome(record), mood).toBe(`cache: ${passphraseOf(record)}`);
    }
    Object.assign(world.moods, { vault1: "KEYSTORE_TLS_FAILED", vault2: AWAY });
    expect(await world.outcome(record)).toBe("KEYSTORE_TLS_FAILED");
    Object.assign(world.moods, { vault1: AWAY, vault2: "answers" });
    expect(await world.outcome(record)).toBe(`vault2: ${passphraseOf(record)}`);
    Object.assign(world.moods, { vault1: "unknown", vault2: AWAY });
    expect(await world.outcome(record)).toBe(`cache: ${passphraseOf(record)}`);
  });

  it("has nothing for a keystore that is not away, and keeps the copy for one that is", async () => {
    const world = new CacheWorld();
    const record = activeRecord();
    await world.outcome(record);
    const cache = await keyCacheFor({
      ...{ settings: world.settings, places: world.places, manner: "copy" },
      ...{ runner: new ExecaCommandRunner(), now: () => world.now, warn: () => undefined },
    })!();
    expect(await cache.lookUp(["vault2"], keyUuidOf(record))).toBeUndefined();
    const copy = await cache.lookUp(["vault2", "vault1"], keyUuidOf(record));
    copy?.key.passphrase.dispose();
    expect(copy).toMatchObject({ keystore: "vault1", key: { record } });
  });

  it("is only looked at by commands, which still remove what must not be there", async () => {
    const world = new CacheWorld();
    const record = activeRecord();
    await world.outcome(record, "look-up");
    expect(existsSync(world.places[0]!.path)).toBe(false);
    await world.outcome(record);
    world.moods["vault1"] = AWAY;
    expect(await world.outcome(record, "look-up")).toBe(`cache: ${passphraseOf(record)}`);
    world.moods["vault1"] = "unknown";
    await world.outcome(record, "look-up");
    expect(await world.copies()).toEqual([]);
  });

  it("forgets what its keystore refuses though another one has the key, also where nothing is copied", async () => {
    const world = new CacheWorld();
    const record = activeRecord();
    await world.outcome(record);
    Object.assign(world.moods, { vault1: "KEYSTORE_FORBIDDEN", vault2: "answers" });
    expect(await world.outcome(record, "look-up")).toBe(`vault2: ${passphraseOf(record)}`);
    expect(await world.copies()).toEqual([]);
    expect(await world.outcome(record)).toBe(`vault2: ${passphraseOf(record)}`);
    expect(await world.copies()).toEqual(["sealed usable"]);
  });

  it("has nothing for a keystore that took the name of another one", async () => {
    const world = new CacheWorld();
    const record = activeRecord();
    const at = (url: string, more = {}) =>
      ["vault1", "vault2"].map((name) => ({ name, type: "vault", url, ...more }));
    world.settings = { ...world.settings, keystores: at("https://old.example:8200") };
    await world.outcome(record);
    expect(await world.copies()).toEqual(["sealed usable"]);
    world.settings = { ...world.settings, keystores: at("https://old.example:8200", { timeout: 3 }) };
    world.moods["vault1"] = AWAY;
    expect(await world.outcome(record)).toBe(`cache: ${passphraseOf(record)}`);
    world.settings = { ...world.settings, keystores: at("https://new.example:8200") };
    expect(await world.copies()).toEqual(["sealed unwanted"]);
    expect(await world.outcome(record)).toBe(AWAY);
    expect(await world.copies()).toEqual([]);
  });

  it("makes a copy anew, however fresh it is, that a process with earlier settings has just made", async () => {
    const world = new CacheWorld();
    const record = activeRecord();
    const earlier = world.keyring(record, "renew");
    await earlier.locate(keyUuidOf(record));
    await earlier.settled();
    const moved = [{ name: "vault1", type: "vault", url: "https://new.example:8200" }];
    world.settings = { ...world.settings, keystores: moved };
    for (let round = 0; round < 2; round++) await world.outcome(record);
    expect(await world.copies()).toEqual(["sealed usable"]);
    await earlier.locate(keyUuidOf(record));
    await earlier.settled();
    expect(await world.copies()).toEqual(["sealed unwanted"]);
    await world.outcome(record);
    expect(await world.copies()).toEqual(["sealed usable"]);
  });

  it("moves with its profile from memory to the disk and back", async () => {
    const world = new CacheWorld({ cache: "memory" });
    const record = activeRecord();
    await world.outcome(record);
    for (const cache of ["sealed", "memory"] as const) {
      world.settings = settingsWith({ cache });
      await world.outcome(record);
      expect(await world.copies()).toEqual([`${cache} usable`]);
    }
  });
});

describe("a profile whose cache was switched off", () => {
  it("has no copies left after the next look, though that is for another key", async () => {
    const world = new CacheWorld({ cache: "memory" });
    world.settings = settingsWith({ cache: "memory" }, { name: "other", cache: "sealed" });
    await world.outcome(activeRecord());
    await world.outcome(activeRecord({ profile: "other" }));
    expect((await world.copies()).sort()).toEqual(["memory usable", "sealed usable"]);
    world.settings = settingsWith({ cache: "memory" }, { name: "other" });
    await world.outcome(activeRecord(), "look-up");
    expect(await world.copies()).toEqual(["memory usable"]);
    expect(existsSync(world.places[0]!.path)).toBe(false);
  });

  it("leaves not even its master key, when no profile has a cache any more", async () => {
    const world = new CacheWorld();
    const record = activeRecord();
    await world.outcome(record);
    world.settings = settingsWith({});
    world.moods["vault1"] = AWAY;
    expect(await world.outcome(record)).toBe(AWAY);
    expect(treeOf(join(world.root))).toEqual({});
    expect(world.warnings).toEqual([]);
  });
});
