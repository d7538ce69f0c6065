import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { LuksmithError } from "../../../src/error/luksmith-error.js";
import type { KeyRecord } from "../../../src/generated/key-record.js";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import type { KeyUuid } from "../../../src/keystore/key-uuid.js";
import type { Key, Keystore } from "../../../src/keystore/keystore.js";
import { isThrowAway } from "../../../src/keystore/round-trip.js";
import { migrateKeys, type Migration, type MigrationResult } from "../../../src/keystore/transfer/migrate.js";
import { type Death, FakeFailingKeystore } from "../../fake/failing-keystore.js";
import { archivedRecord, replaceText, sampleRecord, storeText } from "../sample-key.js";
import { type Deleting, type TwoKeystores, twoKeystores, whereIs } from "./two-keystores.js";

let world: TwoKeystores;

beforeEach(async () => {
  world = await twoKeystores();
});

const guest = (n: number) => ({ id: `0a1b2c3d-0000-4000-8000-00000000000${n}`, name: `web${n}` });

/** Two guests with two disks each. */
async function fourKeys({ a }: TwoKeystores): Promise<KeyRecord[]> {
  const records = [1, 1, 2, 2].map((n, index) =>
    sampleRecord({ guest: guest(n), disk: `vd${"ab"[index % 2]}` }),
  );
  for (const record of records) await storeText(a, record, `of ${record.uuid}`);
  return records;
}

/** Runs it as the command does; `outcome` or the error's code of each key, in the order of the records. */
async function run(
  { a, b, witness, locks, keyLocks }: TwoKeystores,
  change: Partial<Migration> = {},
): Promise<string[]> {
  const results = new Map<string, MigrationResult>();
  const records = change.records ?? (await a.find({})).filter((record) => !isThrowAway(record));
  await migrateKeys({
    ...{ from: a, target: { keystore: b, witness }, records, locks, keyLocks },
    ...{ manner: "apply", pauses: [1, 1] },
    settled: (result) => results.set(result.record.uuid, result),
    ...change,
  });
  return records.map(({ uuid }) => {
    const result = results.get(uuid);
    return result?.outcome === "failed" ? result.error.code : (result?.outcome ?? "not settled");
  });
}

const stateIn = async (keystore: Keystore, record: KeyRecord) => {
  const key = await keystore.fetch(keyUuidOf(record));
  key?.passphrase.dispose();
  return key?.record.state;
};

describe("a migration", () => {
  it("moves every key with its record and passphrase", async () => {
    const records = await fourKeys(world);
    expect(await run(world, { records })).toEqual(["moved", "moved", "moved", "moved"]);
    expect(await world.a.find({})).toEqual([]);
    for (const record of records) {
      expect(await whereIs(record, world)).toEqual({ b: `of ${record.uuid}` });
      expect(await world.b.find({ guestId: record.guest.id })).toContainEqual(record);
    }
    expect(await world.b.find({})).toHaveLength(4);
    expect(await run(world)).toEqual([]);
  });

  it("foresees in a dry run what it would do, and changes nothing", async () => {
    const [same, differs, fresh] = [sampleRecord(), sampleRecord(), sampleRecord()];
    for (const record of [same, differs, fresh]) await storeText(world.a, record, "mine");
    await storeText(world.b, same, "mine");
    await storeText(world.b, differs, "another");
    const records = [same, differs, fresh];
    expect(await run(world, { records, manner: "dry-run" })).toEqual(["moved", "KEY_CONFLICT", "moved"]);
    expect(await whereIs(fresh, world)).toEqual({ a: "mine" });
    expect(await whereIs(same, world)).toEqual({ a: "mine", b: "mine" });
    expect(await world.b.find({})).toHaveLength(2);
  });

  it("works on several keys at once, and not on all", async () => {
    const records = Array.from({ length: 40 }, (_, index) => sampleRecord({ guest: guest(index % 8) }));
    for (const record of records) await storeText(world.a, record, "x");
    const from = new FakeFailingKeystore(world.a);
    expect(new Set(await run(world, { records, from }))).toEqual(new Set(["moved"]));
    expect(from.mostAtOnce).toBeGreaterThan(4);
    expect(from.mostAtOnce).toBeLessThanOrEqual(8);
  });

  it("leaves a key where it is that is rotated meanwhile, with its new passphrase, and no copy of the old one", async () => {
    const record = sampleRecord({ state: "active" });
    await storeText(world.a, record, "the first");
    const rotated = { ...record, generation: 2 };
    const { b } = world;
    const target = Object.assign(Object.create(b) as typeof b, {
      store: async (key: Key) => {
        await b.store(key);
        if (key.record.uuid === record.uuid) await replaceText(world.a, rotated, "the second");
      },
      delete: (uuid: KeyUuid) => b.delete(uuid),
    });
    const migration = { records: [record], target: { keystore: target, witness: world.witness } };
    expect(await run(world, migration)).toEqual(["KEY_CONFLICT"]);
    expect(await whereIs(record, world)).toEqual({ a: "the second" });
    expect(await run(world)).toEqual(["moved"]);
    expect(await whereIs(record, world)).toEqual({ b: "the second" });
  });

  it("waits for whoever has the key's lock, whatever guest its record names; so do its former passphrases", async () => {
    const record = sampleRecord({ state: "active" });
    const former = archivedRecord(record, 1);
    for (const one of [record, former]) await storeText(world.a, one, "x");
    const held: { moving?: Promise<string[]> } = {};
    await world.keyLocks.hold(keyUuidOf(record), async () => {
      held.moving = run(world);
      // longer than moving them takes
      await new Promise((resolve) => setTimeout(resolve, 2000));
      expect(await world.b.find({})).toEqual([]);
    });
    expect(await held.moving).toEqual(["moved", "moved"]);
  });

  it("goes on from where both have the key", async () => {
    const record = sampleRecord();
    for (const keystore of [world.a, world.b]) await storeText(keystore, record, "same");
    expect(await run(world)).toEqual(["moved"]);
    expect(await whereIs(record, world)).toEqual({ b: "same" });
  });

  it.each([
    ["pending", "active"],
    ["active", "pending"],
  ] as const)("takes a key for active that is %s in the one and %s in the other", async (a, b) => {
    const record = sampleRecord();
    await storeText(world.a, { ...record, state: a }, "same");
    await storeText(world.b, { ...record, state: b }, "same");
    expect(await run(world)).toEqual(["moved"]);
    expect(await whereIs(record, world)).toEqual({ b: "same" });
    expect(await stateIn(world.b, record)).toBe("active");
  });

  it.each<[what: string, text: string, change: Partial<KeyRecord>]>([
    ["another passphrase", "another", {}],
    ["a record of another volume", "mine", { volume: "/srv/vm/other.img" }],
  ])("leaves a key alone of which the other has %s, and moves the rest", async (_, text, change) => {
    const [conflict, other] = [sampleRecord(), sampleRecord()];
    for (const record of [conflict, other]) await storeText(world.a, record, "mine");
    await storeText(world.b, { ...conflict, ...change }, text);
    expect(await run(world, { records: [conflict, other] })).toEqual(["KEY_CONFLICT", "moved"]);
    expect(await whereIs(conflict, world)).toEqual({ a: "mine", b: text });
    expect(await world.b.find({})).toContainEqual({ ...conflict, ...change });
    expect(await whereIs(other, world)).toEqual({ b: "mine" });
  });

  it("moves former passphrases as well, each still that of its key", async () => {
    const record = sampleRecord({ state: "active", generation: 2 });
    const former = archivedRecord(record, 1);
    await storeText(world.a, record, "second");
    await storeText(world.a, former, "first");
    expect(await run(world, { records: [record, former] })).toEqual(["moved", "moved"]);
    expect(await whereIs(former, world)).toEqual({ b: "first" });
    expect(await world.b.find({ archivedOf: keyUuidOf(record) })).toEqual([former]);
    expect(await world.a.find({})).toEqual([]);
  });

  it("copies where the keystore cannot delete", async () => {
    const record = sampleRecord();
    await storeText(world.a, record, "x");
    const { a } = world;
    const from: Keystore = {
      ...{ name: "a", type: "file", store: (key) => a.store(key), fetch: (uuid) => a.fetch(uuid) },
      ...{ update: (changed) => a.update(changed), find: (query) => a.find(query) },
      replace: (key, expected) => a.replace(key, expected),
      change: (uuid, change) => a.change(uuid, change),
    };
    expect(await run(world, { from })).toEqual(["copied"]);
    expect(await whereIs(record, world)).toEqual({ a: "x", b: "x" });
  });

  it("loses no key when both names mean one store", async () => {
    const record = sampleRecord();
    const same = await twoKeystores({ b: "link" });
    await storeText(same.a, record, "only one");
    symlinkSync("a", join(same.directory, "link"));
    // the file keystore follows no link at its end
    const one = await twoKeystores({ a: "x/../both", b: "both" });
    await storeText(one.a, record, "only one");
    await expect(run(one)).rejects.toMatchObject({ code: "KEY_CONFLICT" });
    expect(await whereIs(record, one)).toEqual({ a: "only one", b: "only one" });
    expect(await one.a.find({})).toEqual([record]);
    await expect(run(same)).rejects.toMatchObject({ code: "PERMISSIONS_UNSAFE" });
    expect(await same.a.find({})).toEqual([record]);
  });

  it("does not delete what the other keystore only says to have stored", async () => {
    const record = sampleRecord();
    await storeText(world.a, record, "x");
    const other = await twoKeystores();
    // stores in one place, and fetches from another one: as a keystore that keeps nothing
    const target = { keystore: world.b, witness: other.b };
    expect(await run(world, { target })).toEqual(["KEYSTORE_ANSWER_INVALID"]);
    expect(await whereIs(record, world)).toMatchObject({ a: "x" });
  });

  it("puts a key back that somebody takes away at the last moment", async () => {
    const record = sampleRecord();
    await storeText(world.a, record, "x");
    const { a, b } = world;
    const from = Object.assign(new FakeFailingKeystore(a), {
      delete: async (uuid: ReturnType<typeof keyUuidOf>) => {
        // another host moves the key the other way: it has found it here a moment ago
        await b.delete(uuid);
        await a.delete(uuid);
      },
    });
    expect(await run(world, { from })).toEqual(["KEY_CONFLICT"]);
    expect(await whereIs(record, world)).toEqual({ b: "x" });
  });

  /** `from` whose delete does something else too. */
  const deleting = (work: (uuid: KeyUuid) => Promise<void>) =>
    Object.assign(new FakeFailingKeystore(world.a), {
      delete: async (uuid: KeyUuid) => {
        await world.a.delete(uuid);
        await work(uuid);
      },
    });
  /** Keystore `b` that dies, or is back, at the word. */
  const doors = (real: Deleting) => {
    const door = { failures: 0 };
    const keystore = Object.assign(new FakeFailingKeystore(real), {
      fetch: (uuid: KeyUuid) => (door.failures-- > 0 ? Promise.reject(away) : real.fetch(uuid)),
      store: (key: Key) => (door.failures-- > 0 ? Promise.reject(away) : real.store(key)),
    });
    return { door, keystore };
  };
  const away = new LuksmithError("KEYSTORE_UNAVAILABLE", { what: "it is away" });

  it("looks again at a keystore that does not answer after the key was deleted from the other one", async () => {
    const record = sampleRecord();
    await storeText(world.a, record, "x");
    const { door, keystore: witness } = doors(world.witness);
    const from = deleting((uuid) => {
      if (uuid === record.uuid) door.failures = 2;
      return Promise.resolve();
    });
    expect(await run(world, { from, records: [record], target: { keystore: world.b, witness } })).toEqual([
      "moved",
    ]);
    expect(await whereIs(record, world)).toEqual({ b: "x" });
  });

  it("puts the key back where it was if the new keystore is gone with it", async () => {
    const record = sampleRecord();
    await storeText(world.a, record, "x");
    const { door, keystore: witness } = doors(world.witness);
    const from = deleting(async (uuid) => {
      await world.b.delete(uuid);
      if (uuid === record.uuid) door.failures = Infinity;
    });
    expect(await run(world, { from, records: [record], target: { keystore: world.b, witness } })).toEqual([
      "KEYSTORE_UNAVAILABLE",
    ]);
    expect(await whereIs(record, world)).toEqual({ a: "x" });
  });

  it("puts the key back where it was if the new keystore lost it and takes it no more", async () => {
    const record = sampleRecord();
    await storeText(world.a, record, "x");
    const { door, keystore } = doors(world.b);
    const from = deleting(async (uuid) => {
      await world.b.delete(uuid);
      if (uuid === record.uuid) door.failures = Infinity;
    });
    const target = { keystore, witness: world.witness };
    expect(await run(world, { from, records: [record], target })).toEqual(["KEY_CONFLICT"]);
    expect(await whereIs(record, world)).toEqual({ a: "x" });
  });

  it("does not take another passphrase for the key that it has just deleted", async () => {
    const record = sampleRecord();
    await storeText(world.a, record, "x");
    const from = deleting(async (uuid) => {
      if (uuid !== record.uuid) return;
      await world.b.delete(uuid);
      await storeText(world.b, record, "of somebody else");
    });
    expect(await run(world, { from, records: [record] })).toEqual(["KEY_CONFLICT"]);
    expect(await whereIs(record, world)).toEqual({ a: "x", b: "of somebody else" });
  });

  it("loses no key when only the answer to its deletion is lost, and the other copy is gone", async () => {
    const record = sampleRecord();
    await storeText(world.a, record, "x");
    const from = deleting(async (uuid) => {
      if (uuid !== record.uuid) return;
      await world.b.delete(uuid);
      throw away;
    });
    expect(await run(world, { from, records: [record] })).toEqual(["KEY_CONFLICT"]);
    expect(await whereIs(record, world)).toEqual({ b: "x" });
  });

  it.each<[what: string, primary: "a" | "b"]>([
    ["the one that it empties", "b"],
    ["the one that it fills", "a"],
  ])("sees that %s is a late replica of the other one", async (_, primary) => {
    const record = sampleRecord();
    for (const keystore of [world.a, world.b]) await storeText(keystore, record, "x");
    // what is stored in the one shows in the other at the second look
    let looks = 0;
    const replica = (own: Deleting, other: Deleting) =>
      Object.assign(new FakeFailingKeystore(own), {
        fetch: async (uuid: KeyUuid) =>
          (await own.fetch(uuid)) ?? (looks++ > 0 ? other.fetch(uuid) : undefined),
      });
    const change =
      primary === "b"
        ? { from: replica(world.a, world.b) }
        : { target: { keystore: world.b, witness: replica(world.witness, world.a) } };
    await expect(run(world, { ...change, records: [record] })).rejects.toMatchObject({
      code: "KEY_CONFLICT",
    });
    expect(await whereIs(record, world)).toEqual({ a: "x", b: "x" });
    expect([await world.a.find({}), await world.b.find({})]).toEqual([[record], [record]]);
  });

  it("moves keys away from a keystore that takes no more of them", async () => {
    const record = sampleRecord();
    await storeText(world.a, record, "x");
    const full = new LuksmithError("KEYSTORE_WRITE_FAILED", { what: "it is full" });
    const from = Object.assign(new FakeFailingKeystore(world.a), { store: () => Promise.reject(full) });
    expect(await run(world, { from })).toEqual(["moved"]);
  });

  it("takes over what a hook has written while it waited for the guest's lock", async () => {
    const [record] = await fourKeys(world);
    const records = await world.a.find({});
    let moving: Promise<string[]> | undefined;
    await world.locks.hold(record!.guest, async () => {
      moving = run(world, { records });
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(await whereIs(record!, world)).toEqual({ a: `of ${record!.uuid}` });
      await world.a.update({ ...record!, state: "active" });
    });
    expect(await moving).toEqual(["moved", "moved", "moved", "moved"]);
    expect(await stateIn(world.b, record!)).toBe("active");
  });

  it("leaves keys alone that somebody else has deleted meanwhile", async () => {
    const [record] = await fourKeys(world);
    const records = await world.a.find({});
    await world.a.delete(keyUuidOf(record!));
    expect((await run(world, { records })).sort()).toEqual(["gone", "moved", "moved", "moved"]);
    expect(await whereIs(record!, world)).toEqual({});
  });
});

/** Which keystore dies, by how it is put into the migration. */
const PARTIES: Record<
  string,
  (world: TwoKeystores, death: Death) => [Partial<Migration>, FakeFailingKeystore]
> = {
  "the one that has the keys": ({ a }, death) => {
    const from = new FakeFailingKeystore(a, death);
    return [{ from }, from];
  },
  "the one that shall have them": ({ b, witness }, death) => {
    const keystore = new FakeFailingKeystore(b, death);
    return [{ target: { keystore, witness } }, keystore];
  },
  "its second instance": ({ b, witness }, death) => {
    const second = new FakeFailingKeystore(witness, death);
    return [{ target: { keystore: b, witness: second } }, second];
  },
};

describe.each(Object.entries(PARTIES))("a migration in which %s dies", (_, party) => {
  it.each(["before", "after"] as const)(
    "%s any of its calls loses no key, and the next run finishes",
    async (moment) => {
      const whole = await twoKeystores();
      const records = await fourKeys(whole);
      const [undisturbed, counter] = party(whole, { call: Infinity, moment });
      await run(whole, { records, ...undisturbed });
      expect(counter.calls).toBeGreaterThan(4);

      for (let call = 1; call <= counter.calls; call++) {
        const here = await twoKeystores();
        const keys = await fourKeys(here);
        const [dying] = party(here, { call, moment });
        const outcomes = await run(here, { records: keys, ...dying }).catch((thrown: unknown) => [
          codeOf(thrown),
        ]);
        for (const outcome of outcomes) {
          expect(["moved", "not tried", "KEYSTORE_UNAVAILABLE"], `call ${call}`).toContain(outcome);
        }
        for (const key of keys) {
          expect(new Set(Object.values(await whereIs(key, here))), `call ${call}`).toEqual(
            new Set([`of ${key.uuid}`]),
          );
        }
        expect(new Set(await run(here)), `call ${call}`).not.toContain("failed");
        for (const key of keys) expect(await whereIs(key, here)).toEqual({ b: `of ${key.uuid}` });
        expect((await here.b.find({})).filter((record) => !isThrowAway(record))).toHaveLength(4);
      }
    },
  );
});

it("a keystore that is down is not asked for every key", async () => {
  const records = Array.from({ length: 60 }, (_, index) => sampleRecord({ guest: guest(index % 8) }));
  // the first five calls are the trial whether both are one store
  const from = new FakeFailingKeystore(world.a, { call: 7, moment: "before" });
  const outcomes = await run(world, { records, from });
  expect(outcomes).toContain("KEYSTORE_UNAVAILABLE");
  expect(outcomes.filter((outcome) => outcome === "not tried").length).toBeGreaterThan(48);
  expect(from.calls).toBeLessThan(22);
});

function codeOf(thrown: unknown): string {
  return thrown instanceof Error && "code" in thrown ? String(thrown.code) : String(thrown);
}
