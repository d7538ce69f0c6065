import { setImmediate } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { KeyRecord } from "../../src/generated/key-record.js";
import { keyUuidOf } from "../../src/keystore/key-record.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import type { KeyDeleter, KeyLister, Keystore, KeyTester } from "../../src/keystore/keystore.js";
import { Secret } from "../../src/secret/secret.js";
import {
  archivedRecord,
  passphraseIn,
  replaceText,
  sampleRecord,
  storeText,
} from "../keystore/sample-key.js";

export type CompleteKeystore = Keystore & KeyDeleter & KeyLister & KeyTester;

/** An empty keystore for one test. */
export interface KeystoreFixture extends AsyncDisposable {
  readonly keystore: CompleteKeystore;
  /** Another instance on the same keys, as another process has it. */
  another(): CompleteKeystore;
}

/** What every keystore does, whatever it is made of. */
export function keystoreContract(name: string, make: () => Promise<KeystoreFixture>): void {
  describe(`${name}: the contract of keystores`, () => {
    let fixture: KeystoreFixture;
    let keystore: CompleteKeystore;

    beforeEach(async () => {
      fixture = await make();
      ({ keystore } = fixture);
    });
    afterEach(async () => {
      await fixture[Symbol.asyncDispose]();
    });

    it("gives back the record and the passphrase that it was given", async () => {
      const record = sampleRecord();
      await storeText(keystore, record, "correct horse battery staple");
      const key = await keystore.fetch(keyUuidOf(record));
      using passphrase = key!.passphrase;
      expect(key!.record).toEqual(record);
      expect(passphrase.use(String)).toBe("correct horse battery staple");
    });

    it("has no key where none was stored", async () => {
      expect(await keystore.fetch(newKeyUuid())).toBeUndefined();
      await storeText(keystore, sampleRecord(), "another key");
      expect(await keystore.fetch(newKeyUuid())).toBeUndefined();
    });

    it.each([
      ["one byte", Buffer.from([0x41])],
      ["every byte value", Buffer.from(Array.from({ length: 256 }, (_, i) => i))],
      ["zero bytes around", Buffer.from("\0\0passphrase\0")],
      ["a newline at the end", Buffer.from("passphrase\n")],
      ["UTF-8", Buffer.from("pässphräse ключ 🔑")],
      ["what is not UTF-8", Buffer.from([0xff, 0xfe, 0xc0, 0x80])],
      ["8 KiB", Buffer.alloc(8192, "long ")],
    ])("keeps a passphrase of %s exactly", async (_, bytes) => {
      const record = sampleRecord();
      using passphrase = Secret.own(Buffer.from(bytes));
      await keystore.store({ record, passphrase });
      expect(await passphraseIn(keystore, record)).toEqual(bytes);
    });

    it("keeps attributes with any Unicode text, quotes and control characters", async () => {
      const record = sampleRecord({
        guest: { id: "ünï-id", name: "Gästin \"web\" 'ключ' 🔑 \u0000\t\n\ud800 </x>" },
        disk: "vdä",
        volume: "/srv/vm/ŝ\\pa ce/$(id)/../🔑.img",
      });
      await storeText(keystore, record, "passphrase");
      expect(await keystore.list()).toEqual([record]);
      expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("passphrase"));
    });

    it("keeps the name of the profile, which older records do not have", async () => {
      const [older, record] = [sampleRecord(), sampleRecord({ profile: "finance" })];
      for (const one of [older, record]) await storeText(keystore, one, "passphrase");
      const read = async (one: typeof record) => {
        const key = await fixture.another().fetch(keyUuidOf(one));
        key?.passphrase.dispose();
        return key?.record;
      };
      expect(await read(record)).toEqual(record);
      expect(await read(older)).toEqual(older);
      await keystore.update({ ...record, state: "active" });
      expect(await read(record)).toEqual({ ...record, state: "active" });
    });

    it("refuses a UUID that is taken, and keeps the first key", async () => {
      const record = sampleRecord();
      await storeText(keystore, record, "first");
      const again = { ...record, volume: "/srv/vm/other.img" };
      await expect(storeText(keystore, again, "second")).rejects.toMatchObject({ code: "KEY_EXISTS" });
      expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("first"));
      expect(await keystore.list()).toEqual([record]);
    });

    it("lets one of many concurrent stores of a UUID win, whole", async () => {
      const record = sampleRecord();
      const texts = Array.from({ length: 8 }, (_, i) => `passphrase ${i}`);
      const results = await Promise.allSettled(
        texts.map((text, index) => storeText(index % 2 === 0 ? keystore : fixture.another(), record, text)),
      );
      const winners = texts.filter((_, index) => results[index]?.status === "fulfilled");
      expect(winners).toHaveLength(1);
      for (const result of results) {
        if (result.status === "rejected") expect(result.reason).toMatchObject({ code: "KEY_EXISTS" });
      }
      expect(await passphraseIn(keystore, record)).toEqual(Buffer.from(winners[0]!));
    });

    it("stores different keys concurrently", async () => {
      const records = Array.from({ length: 12 }, () => sampleRecord());
      await Promise.all(records.map((record) => storeText(keystore, record, `of ${record.uuid}`)));
      for (const record of records) {
        expect(await passphraseIn(keystore, record)).toEqual(Buffer.from(`of ${record.uuid}`));
      }
    });

    it("answers 100 parallel fetches", async () => {
      const records = Array.from({ length: 4 }, () => sampleRecord());
      for (const record of records) await storeText(keystore, record, `of ${record.uuid}`);
      const wanted = Array.from({ length: 100 }, (_, index) => records[index % 4]!);
      const fetched = await Promise.all(wanted.map((record) => passphraseIn(keystore, record)));
      expect(fetched).toEqual(wanted.map(({ uuid }) => Buffer.from(`of ${uuid}`)));
    });

    it("keeps keys for another instance", async () => {
      const record = sampleRecord();
      await storeText(keystore, record, "survives");
      expect(await passphraseIn(fixture.another(), record)).toEqual(Buffer.from("survives"));
      expect(await fixture.another().list()).toEqual([record]);
    });

    it("keeps no reference to a passphrase that it was given or has given", async () => {
      const record = sampleRecord();
      const given = Secret.own(Buffer.from("passphrase"));
      await keystore.store({ record, passphrase: given });
      given.dispose();
      const first = await keystore.fetch(keyUuidOf(record));
      const second = await keystore.fetch(keyUuidOf(record));
      first!.passphrase.dispose();
      expect(second!.passphrase.use(String)).toBe("passphrase");
      second!.passphrase.dispose();
      expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("passphrase"));
    });

    it("updates state and attributes, and never the passphrase", async () => {
      const record = sampleRecord({ state: "pending" });
      await storeText(keystore, record, "stays");
      const changed = { ...record, state: "active" as const, guest: { id: "7", name: "renamed" } };
      await keystore.update(changed);
      const key = await fixture.another().fetch(keyUuidOf(record));
      using passphrase = key!.passphrase;
      expect(key!.record).toEqual(changed);
      expect(passphrase.use(String)).toBe("stays");
    });

    it("does not update what it does not have", async () => {
      await expect(keystore.update(sampleRecord())).rejects.toMatchObject({ code: "KEY_NOT_FOUND" });
      expect(await keystore.list()).toEqual([]);
    });

    it("changes the record that it has, and never the passphrase", async () => {
      const record = sampleRecord({ generation: 3, recovery: [recoveryAt(7)] });
      await storeText(keystore, record, "stays");
      const changed = { ...record, state: "active" as const, disk: "vdz" };
      const change = (now: typeof record) => ({ ...now, state: "active" as const, disk: "vdz" });
      expect(await keystore.change(keyUuidOf(record), change)).toEqual(changed);
      expect(await keystore.change(keyUuidOf(record), change)).toEqual(changed);
      const without = lacking(changed, "recovery");
      const removed = await fixture.another().change(keyUuidOf(record), () => without);
      expect([removed, ...(await fixture.another().list())]).toEqual([without, without]);
      expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("stays"));
    });

    it("changes nothing when the change throws, and nothing that it does not have", async () => {
      const record = sampleRecord({ generation: 2 });
      await storeText(keystore, record, "stays");
      const uuid = keyUuidOf(record);
      const refuse = () => {
        throw new Error("not this one");
      };
      await expect(keystore.change(uuid, refuse)).rejects.toThrow("not this one");
      const refused = { code: "KEYSTORE_WRITE_FAILED" };
      for (const other of [{ uuid: newKeyUuid() }, { generation: 3 }, { disk: 7 as never }])
        await expect(keystore.change(uuid, (now) => ({ ...now, ...other }))).rejects.toMatchObject(refused);
      await expect(keystore.change(newKeyUuid(), (now) => now)).rejects.toMatchObject({
        code: "KEY_NOT_FOUND",
      });
      expect(await keystore.list()).toEqual([record]);
      expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("stays"));
    });

    it("loses no change of several who change one record at once", async () => {
      const record = sampleRecord();
      await storeText(keystore, record, "stays");
      const changeAll = async (writer: CompleteKeystore, keyslots: readonly number[]) => {
        for (const keyslot of keyslots) {
          const returned = await writer.change(keyUuidOf(record), (now) => {
            const { recovery = [] } = now;
            const has = recovery.some((entry) => entry.keyslot === keyslot);
            return has ? now : { ...now, recovery: [...recovery, recoveryAt(keyslot)] };
          });
          expect(returned.recovery).toContainEqual(recoveryAt(keyslot));
        }
      };
      await Promise.all([changeAll(keystore, [2, 3, 4]), changeAll(fixture.another(), [5, 6, 7])]);
      const [now] = await fixture.another().list();
      expect(now?.recovery?.map(({ keyslot }) => keyslot).sort()).toEqual([2, 3, 4, 5, 6, 7]);
      expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("stays"));
    });

    it.each(["rotation", "conversion", "recovery", "generation"] as const)(
      "updates nothing to a record that has lost its %s",
      async (member) => {
        const record = fullRecord();
        await storeText(keystore, record, "stays");
        const older = lacking(record, member);
        const refusal = { code: "KEY_CONFLICT" };
        await expect(keystore.update({ ...older, disk: "vdz" })).rejects.toMatchObject(refusal);
        const [first] = record.recovery ?? [];
        await expect(keystore.update({ ...record, recovery: [first!] })).rejects.toMatchObject(refusal);
        expect(await keystore.list()).toEqual([record]);
        await keystore.update({ ...record, disk: "vdz" });
        expect(await fixture.another().list()).toEqual([{ ...record, disk: "vdz" }]);
      },
    );

    it("finds records by every attribute that is given", async () => {
      const web = sampleRecord({ guest: { id: "1", name: "web" }, volume: "/srv/a", state: "active" });
      const spare = sampleRecord({ guest: { id: "1", name: "web" }, volume: "/srv/b", state: "pending" });
      const other = sampleRecord({ guest: { id: "2", name: "db" }, volume: "/srv/a", state: "active" });
      for (const record of [web, spare, other]) await storeText(keystore, record, "passphrase");
      const find = async (query: Parameters<Keystore["find"]>[0]) => sorted(await keystore.find(query));
      expect(await find({})).toEqual(sorted([web, spare, other]));
      expect(await find({ guestId: "1" })).toEqual(sorted([web, spare]));
      expect(await find({ volume: "/srv/a" })).toEqual(sorted([web, other]));
      expect(await find({ state: "pending" })).toEqual([spare]);
      expect(await find({ guestId: "1", volume: "/srv/a", state: "active" })).toEqual([web]);
      expect(await find({ guestId: "2", state: "pending" })).toEqual([]);
    });

    it("finds the former passphrases of a key, and no other's", async () => {
      const [record, other] = [sampleRecord(), sampleRecord()];
      const former = [archivedRecord(record, 1), archivedRecord(record, 2)];
      const others = archivedRecord(other, 1);
      for (const one of [record, other, ...former, others]) await storeText(keystore, one, "passphrase");
      const find = async (query: Parameters<Keystore["find"]>[0]) => sorted(await keystore.find(query));
      expect(await find({ archivedOf: keyUuidOf(record) })).toEqual(sorted(former));
      expect(await find({ archivedOf: keyUuidOf(other) })).toEqual([others]);
      expect(await find({ archivedOf: keyUuidOf(others) })).toEqual([]);
      expect(await find({ state: "archived" })).toEqual(sorted([...former, others]));
    });

    it("keeps every attribute that a key can get in its life", async () => {
      const record = fullRecord();
      await storeText(keystore, sampleRecord({ uuid: record.uuid }), "passphrase");
      await keystore.update(record);
      expect(await fixture.another().find({ volume: record.volume })).toEqual([record]);
      expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("passphrase"));
    });

    it("replaces a passphrase and its record at once, and gives out the former one no more", async () => {
      const record = sampleRecord();
      await storeText(keystore, record, "first");
      for (const [generation, text] of [
        [2, "second"],
        [3, "third"],
      ] as const) {
        const rotated = { ...record, generation, rotatedAt: "2026-11-22T12:00:00.000Z" };
        await replaceText(keystore, rotated, text);
        expect(await passphraseIn(fixture.another(), record)).toEqual(Buffer.from(text));
        expect(await fixture.another().list()).toEqual([rotated]);
      }
      await keystore.delete(keyUuidOf(record));
      expect(await fixture.another().fetch(keyUuidOf(record))).toBeUndefined();
    });

    it("replaces twice as well as once, and changes the record beside the passphrase that it has", async () => {
      const record = sampleRecord();
      await storeText(keystore, record, "first");
      const rotated = { ...record, generation: 2 };
      await replaceText(keystore, rotated, "second");
      await replaceText(fixture.another(), rotated, "second");
      expect(await keystore.list()).toEqual([rotated]);
      await replaceText(keystore, { ...rotated, disk: "vdz" }, "second");
      expect(await fixture.another().list()).toEqual([{ ...rotated, disk: "vdz" }]);
      expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("second"));
    });

    it("replaces nothing by another passphrase of the same generation", async () => {
      const record = sampleRecord();
      await storeText(keystore, record, "first");
      const refusal = { code: "KEYSTORE_WRITE_FAILED" };
      await expect(replaceText(keystore, record, "another")).rejects.toMatchObject(refusal);
      await replaceText(keystore, { ...record, generation: 2 }, "second");
      await expect(replaceText(keystore, { ...record, generation: 2 }, "x")).rejects.toMatchObject(refusal);
      await expect(replaceText(keystore, record, "first")).rejects.toMatchObject(refusal);
      expect(await passphraseIn(fixture.another(), record)).toEqual(Buffer.from("second"));
      expect(await keystore.list()).toEqual([{ ...record, generation: 2 }]);
    });

    it("replaces only what is still the record that the caller has read", async () => {
      const record = sampleRecord();
      await storeText(keystore, record, "first");
      const rotation = { startedAt: record.createdAt, keyslot: 1 };
      const noted = await keystore.change(keyUuidOf(record), (now) => ({ ...now, rotation }));
      const rotated = { ...noted, generation: 2 };
      const refusal = { code: "KEY_CONFLICT" };
      // another host has taken the rotation for a killed one, or has begun its own
      for (const now of [
        record,
        { ...record, rotation: { ...rotation, startedAt: "2026-11-22T12:00:00Z" } },
      ]) {
        await fixture.another().change(keyUuidOf(record), () => now);
        await expect(replaceText(keystore, rotated, "second", noted)).rejects.toMatchObject(refusal);
        await expect(replaceText(keystore, { ...noted, disk: "vdz" }, "first", noted)).rejects.toMatchObject(
          refusal,
        );
        expect(await keystore.list()).toEqual([now]);
        expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("first"));
      }
      await fixture.another().change(keyUuidOf(record), () => noted);
      await replaceText(keystore, rotated, "second", noted);
      // as who has lost the answer
      await replaceText(fixture.another(), rotated, "second", noted);
      await expect(replaceText(keystore, { ...rotated, generation: 3 }, "x", noted)).rejects.toMatchObject(
        refusal,
      );
      expect(await keystore.list()).toEqual([rotated]);
      expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("second"));
    });

    it("lets one of several who replace what they have read win, and tells the others", async () => {
      const record = sampleRecord();
      await storeText(keystore, record, "former");
      const texts = Array.from({ length: 4 }, (_, index) => `new ${index}`);
      const results = await Promise.allSettled(
        texts.map((text, index) => {
          const writer = index % 2 === 0 ? keystore : fixture.another();
          return replaceText(writer, { ...record, generation: 2 }, text, record);
        }),
      );
      const winners = texts.filter((_, index) => results[index]?.status === "fulfilled");
      for (const result of results)
        if (result.status === "rejected") expect(result.reason).toMatchObject({ code: "KEY_CONFLICT" });
      expect(winners).toHaveLength(1);
      expect(await passphraseIn(fixture.another(), record)).toEqual(Buffer.from(winners[0]!));
    });

    it("loses neither a change of the record nor a passphrase that come at once", async () => {
      const record = sampleRecord();
      await storeText(keystore, record, "first");
      const rotated = { ...record, generation: 2 };
      const [replaced, changed] = await Promise.allSettled([
        replaceText(keystore, rotated, "second", record),
        fixture.another().change(keyUuidOf(record), (now) => ({ ...now, disk: "vdz" })),
      ]);
      expect(changed).toMatchObject({ status: "fulfilled" });
      const isReplaced = replaced.status === "fulfilled";
      if (!isReplaced) expect(replaced.reason).toMatchObject({ code: "KEY_CONFLICT" });
      expect(await keystore.list()).toEqual([{ ...(isReplaced ? rotated : record), disk: "vdz" }]);
      expect(String(await passphraseIn(keystore, record))).toBe(isReplaced ? "second" : "first");
    });

    it("replaces nothing that it does not have", async () => {
      const record = sampleRecord({ generation: 2 });
      await expect(replaceText(keystore, record, "x")).rejects.toMatchObject({ code: "KEY_NOT_FOUND" });
      await expect(
        replaceText(keystore, { ...record, uuid: "../../../etc/passwd" }, "x"),
      ).rejects.toMatchObject({
        code: expect.stringMatching(/^KEY(_NOT_FOUND|STORE_WRITE_FAILED)$/) as string,
      });
      expect(await keystore.list()).toEqual([]);
    });

    it("gives a reader the former passphrase or the new one while it is replaced, each with its record", async () => {
      const record = sampleRecord();
      await storeText(keystore, record, "generation 1");
      const reader = fixture.another();
      const seen = new Set<number>();
      let isDone = false;
      const read = async () => {
        let last = 0;
        while (!isDone) {
          const key = await reader.fetch(keyUuidOf(record));
          using passphrase = key!.passphrase;
          const generation = key!.record.generation ?? 1;
          expect(passphrase.use(String)).toBe(`generation ${generation}`);
          expect(generation).toBeGreaterThanOrEqual(last);
          seen.add((last = generation));
          // one record of the key, whichever
          expect(await reader.list()).toHaveLength(1);
          // what reads files without waiting would leave nobody else a turn
          await setImmediate();
        }
      };
      let newest = 1;
      const replaceAll = async () => {
        // a reader whose protector is slow sees few of them: until it has seen two
        while (newest < 6 || (seen.size < 2 && newest < 500)) {
          await setImmediate();
          const generation = newest + 1;
          await replaceText(keystore, { ...record, generation }, `generation ${generation}`);
          newest = generation;
        }
      };
      const reading = read();
      await replaceAll().finally(() => (isDone = true));
      await reading;
      expect(seen.size).toBeGreaterThan(1);
      expect(await passphraseIn(reader, record)).toEqual(Buffer.from(`generation ${newest}`));
    });

    it("lets one of several who replace a passphrase at once win, whole", async () => {
      const record = sampleRecord();
      await storeText(keystore, record, "former");
      const texts = Array.from({ length: 4 }, (_, index) => `new ${index}`);
      const results = await Promise.allSettled(
        texts.map((text, index) =>
          replaceText(index % 2 === 0 ? keystore : fixture.another(), { ...record, generation: 2 }, text),
        ),
      );
      const winners = texts.filter((_, index) => results[index]?.status === "fulfilled");
      for (const result of results) {
        if (result.status === "rejected")
          expect(result.reason).toMatchObject({ code: "KEYSTORE_WRITE_FAILED" });
      }
      expect(winners).toHaveLength(1);
      expect(await passphraseIn(fixture.another(), record)).toEqual(Buffer.from(winners[0]!));
      expect(await keystore.list()).toEqual([{ ...record, generation: 2 }]);
    });

    it("deletes for good, and twice as well as once", async () => {
      const [gone, stays] = [sampleRecord(), sampleRecord()];
      await storeText(keystore, gone, "gone");
      await storeText(keystore, stays, "stays");
      await keystore.delete(keyUuidOf(gone));
      await keystore.delete(keyUuidOf(gone));
      await keystore.delete(newKeyUuid());
      expect(await fixture.another().fetch(keyUuidOf(gone))).toBeUndefined();
      expect(await keystore.list()).toEqual([stays]);
      expect(await passphraseIn(keystore, stays)).toEqual(Buffer.from("stays"));
    });

    it("takes a UUID again whose key was deleted", async () => {
      const record = sampleRecord();
      await storeText(keystore, record, "old");
      await keystore.delete(keyUuidOf(record));
      await storeText(keystore, record, "new");
      expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("new"));
    });

    it.each([
      ["a UUID that is a path", { uuid: "../../../etc/passwd" }],
      ["no UUID", { uuid: "" }],
    ])("stores nothing under %s", async (_, change) => {
      await expect(storeText(keystore, sampleRecord(change), "x")).rejects.toMatchObject({
        code: "KEYSTORE_WRITE_FAILED",
      });
      expect(await keystore.list()).toEqual([]);
    });

    it("tests itself, and leaves no key of the test", async () => {
      const record = sampleRecord();
      await storeText(keystore, record, "stays");
      await keystore.test();
      expect(await keystore.list()).toEqual([record]);
    });
  });
}

/** Longer than what keystores keep in one piece. */
function fullRecord() {
  const at = "2026-11-22T12:00:00.000Z";
  const recipients = Array.from({ length: 5 }, (_, index) => `age1${String(index).repeat(58)}`);
  return sampleRecord({
    ...{ state: "active", profile: "finance", generation: 1234, rotatedAt: at, freedAt: at },
    rotation: { startedAt: at, keyslot: 3, former: 0 },
    conversion: { to: "encrypted", startedAt: at },
    archived: { of: newKeyUuid(), generation: 1, at },
    recovery: [
      { keyslot: 6, kind: "passphrase", createdAt: at },
      { keyslot: 7, kind: "recipients", recipients, createdAt: at },
    ],
  });
}

function lacking(record: KeyRecord, member: "rotation" | "conversion" | "recovery" | "generation") {
  const members = Object.entries(record).filter(([name]) => name !== member);
  return Object.fromEntries(members) as unknown as KeyRecord;
}

function recoveryAt(keyslot: number) {
  return { keyslot, kind: "passphrase", createdAt: "2026-11-22T12:00:00.000Z" } as const;
}

function sorted<T extends { readonly uuid: string }>(records: readonly T[]): T[] {
  return [...records].sort((a, b) => (a.uuid < b.uuid ? -1 : 1));
}
