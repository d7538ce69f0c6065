import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { keyUuidOf } from "../../src/keystore/key-record.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import type { KeyDeleter, KeyLister, Keystore, KeyTester } from "../../src/keystore/keystore.js";
import { Secret } from "../../src/secret/secret.js";
import { passphraseIn, sampleRecord, storeText } from "../keystore/sample-key.js";

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

function sorted<T extends { readonly uuid: string }>(records: readonly T[]): T[] {
  return [...records].sort((a, b) => (a.uuid < b.uuid ? -1 : 1));
}
