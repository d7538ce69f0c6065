import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { renderError } from "../../../src/error/luksmith-error.js";
import type { KeyRecord } from "../../../src/generated/key-record.js";
import { migrateKeys, type Migration, type MigrationResult } from "../../../src/keystore/transfer/migrate.js";
import { Secret } from "../../../src/secret/secret.js";
import type { RemoteKeystoreFixture } from "../../contract/remote-keystore.contract.js";
import { passphraseIn, sampleRecord } from "../sample-key.js";
import { type TwoKeystores, twoKeystores } from "./two-keystores.js";

/** What an administrator sees who moves keys to this keystore and back. */
export function remoteMigration(name: string, make: () => Promise<RemoteKeystoreFixture>): void {
  describe(`${name}: moving keys`, () => {
    let fixture: RemoteKeystoreFixture;
    let local: TwoKeystores;
    beforeEach(async () => {
      [fixture, local] = [await make(), await twoKeystores()];
    });
    afterEach(async () => {
      await fixture[Symbol.asyncDispose]();
    });

    const outcomes = async (
      migration: Omit<Migration, "locks" | "keyLocks" | "manner" | "settled" | "records">,
    ) => {
      const results: MigrationResult[] = [];
      await migrateKeys({
        ...{ ...migration, records: await migration.from.find({}), manner: "apply" },
        ...{ locks: local.locks, keyLocks: local.keyLocks },
        settled: (result) => results.push(result),
      });
      return results.map((result) =>
        result.outcome === "failed" ? renderError(result.error) : result.outcome,
      );
    };
    const there = () => ({ keystore: fixture.keystore, witness: fixture.another() });

    it("there and back leaves every key as it was", async () => {
      const keys = oddKeys();
      for (const { record, bytes } of keys) {
        using passphrase = Secret.own(Buffer.from(bytes));
        await local.a.store({ record, passphrase });
      }
      expect(await outcomes({ from: local.a, target: there() })).toEqual(keys.map(() => "moved"));
      expect(await local.a.find({})).toEqual([]);
      const target = { keystore: local.b, witness: local.witness };
      expect(await outcomes({ from: fixture.another(), target })).toEqual(keys.map(() => "moved"));
      expect(await fixture.another().list()).toEqual([]);
      for (const { record, bytes } of keys) {
        expect(await local.b.find({ volume: record.volume })).toEqual([record]);
        expect(await passphraseIn(local.b, record)).toEqual(bytes);
      }
    });

    it("to itself under another name loses none", async () => {
      const record = sampleRecord();
      using passphrase = Secret.randomPassphrase();
      await fixture.keystore.store({ record, passphrase });
      await expect(outcomes({ from: fixture.another(), target: there() })).rejects.toMatchObject({
        code: "KEY_CONFLICT",
      });
      expect(await fixture.another().list()).toEqual([record]);
    });

    it("goes on where a server that stopped answering left it", async () => {
      // so many that some are left when those on the way have ended: up to eight that the server had stored already
      // when it stopped, and ten that wait for it in vain
      const keys = oddKeys(24);
      for (const { record, bytes } of keys) {
        using passphrase = Secret.own(Buffer.from(bytes));
        await local.a.store({ record, passphrase });
      }
      // stops answering in the midst of it
      const { keystore, line } = await fixture.over(8);
      let settled = 0;
      const results: string[] = [];
      await migrateKeys({
        ...{
          from: local.a,
          target: { keystore, witness: fixture.another() },
          locks: local.locks,
          keyLocks: local.keyLocks,
          manner: "apply",
        },
        records: await local.a.find({}),
        settled: (result) => {
          if (++settled === 3) line.weather = { kind: "hang" };
          results.push(result.outcome === "failed" ? result.error.code : result.outcome);
        },
      });
      expect(new Set(results)).toEqual(new Set(["moved", "KEYSTORE_UNAVAILABLE", "not tried"]));
      for (const { record, bytes } of keys) {
        const copies = [await passphraseIn(local.a, record), await passphraseIn(fixture.keystore, record)];
        expect(copies.filter((copy) => copy !== undefined).every((copy) => copy.equals(bytes))).toBe(true);
        expect(copies).not.toEqual([undefined, undefined]);
      }
      expect(new Set(await outcomes({ from: local.a, target: there() }))).toEqual(new Set(["moved"]));
      expect(await fixture.another().list()).toHaveLength(keys.length);
    });
  });
}

/** Of several guests, with names and passphrases that are awkward for a server. */
function oddKeys(length = 16): { record: KeyRecord; bytes: Buffer }[] {
  return Array.from({ length }, (_, index) => ({
    record: sampleRecord({
      guest: { id: `guest-${index % 6}`, name: index % 2 ? "web1" : 'Gästin "web" 🔑 </x>\n' },
      volume: `/srv/vm/ŝ\\pa ce ${index}.img`,
      state: index % 3 ? "active" : "pending",
    }),
    bytes: index % 4 ? Buffer.from(`pässphrase ${index}`) : Buffer.from([0, index, 0xff, 0xfe, 10]),
  }));
}
