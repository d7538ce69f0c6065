import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LuksmithError, renderError } from "../../src/error/luksmith-error.js";
import { keyUuidOf } from "../../src/keystore/key-record.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { passphraseIn, replaceText, sampleRecord, storeText } from "../keystore/sample-key.js";
import type { FaultyLine } from "../lab/faulty-line.js";
import type { CompleteKeystore, KeystoreFixture } from "./keystore.contract.js";

/** An empty keystore on a real server, and what can go wrong between the two. */
export interface RemoteKeystoreFixture extends KeystoreFixture {
  /** A new instance whose operations may take `timeout` seconds, over a line that the test spoils. */
  over(timeout: number): Promise<{ readonly keystore: CompleteKeystore; readonly line: FaultyLine }>;
  /** A server's answer, spoilt so that its form is wrong, for a line in the weather `corrupt`. */
  spoil(answer: Buffer): Buffer;
  /** With credentials that the server does not accept. */
  withWrongCredentials(): CompleteKeystore;
  /** Of somebody whom the server knows, and who may not do what is needed. */
  ofForbiddenUser(): CompleteKeystore;
  /** Kills the server, and starts it again on the same address with the same keys. */
  restart(): Promise<void>;
  /** SIGSTOP and SIGCONT. */
  freeze(): void;
  thaw(): void;
}

export interface RemoteOptions {
  /** Where an answer can be lost in a connection that is new: its first bytes are those of TLS. */
  readonly cuts: readonly number[];
  /** What `ofForbiddenUser` may not: anything, or only what others have stored, since he may store keys of his own. */
  readonly forbidden?: "everything" | "what others have stored";
}

/** Seconds an operation may take in the tests of what takes too long, and milliseconds of grace for a busy machine. */
const SHORT = 2;
const GRACE = 3000;

/** What every keystore behind a network does besides the contract of keystores. */
export function remoteKeystoreContract(
  name: string,
  make: () => Promise<RemoteKeystoreFixture>,
  { cuts, forbidden = "everything" }: RemoteOptions,
): void {
  describe(`${name}: the contract of remote keystores`, () => {
    let fixture: RemoteKeystoreFixture;

    beforeEach(async () => {
      fixture = await make();
    });
    afterEach(async () => {
      await fixture[Symbol.asyncDispose]();
    });

    it.each([
      ["wrong credentials", "KEYSTORE_AUTH_FAILED", () => fixture.withWrongCredentials()],
      ["a user who may not", "KEYSTORE_FORBIDDEN", () => fixture.ofForbiddenUser()],
    ])("lets nothing happen with %s, and says what is missing", async (_, code, stranger) => {
      const record = sampleRecord();
      await storeText(fixture.keystore, record, "the stored passphrase");
      const theirs = stranger();
      const refusal = { code, hint: expect.stringMatching(/\w/) as string };
      await expect(theirs.fetch(keyUuidOf(record))).rejects.toMatchObject(refusal);
      const wanted = forbidden === "everything" ? sampleRecord() : record;
      await expect(storeText(theirs, wanted, "another passphrase")).rejects.toMatchObject(refusal);
      await expect(theirs.update({ ...record, disk: "vdz" })).rejects.toMatchObject(refusal);
      await expect(
        theirs.change(keyUuidOf(record), (now) => ({ ...now, disk: "vdz" })),
      ).rejects.toMatchObject(refusal);
      await expect(
        replaceText(theirs, { ...record, generation: 2 }, "another passphrase"),
      ).rejects.toMatchObject(refusal);
      await expect(theirs.delete(keyUuidOf(record))).rejects.toMatchObject(refusal);
      await expect(theirs.test()).rejects.toMatchObject(refusal);
      expect(await fixture.keystore.list()).toEqual([record]);
      expect(await passphraseIn(fixture.keystore, record)).toEqual(Buffer.from("the stored passphrase"));
    });

    it("works over a slow line", async () => {
      const { keystore, line } = await fixture.over(30);
      line.weather = { kind: "slow", milliseconds: 60 };
      const record = sampleRecord();
      await storeText(keystore, record, "slow");
      expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("slow"));
    });

    it.each(["hang", "reset"] as const)("gives up within its time when connections %s", async (kind) => {
      const { keystore, line } = await fixture.over(SHORT);
      line.weather = { kind };
      const start = performance.now();
      const tried = operations(keystore).map((operation) =>
        expect(operation()).rejects.toMatchObject({ code: "KEYSTORE_UNAVAILABLE" }),
      );
      await Promise.all(tried);
      expect(performance.now() - start).toBeLessThan(1000 * SHORT + GRACE);
      line.weather = { kind: "fine" };
      expect(await keystore.list()).toEqual([]);
    });

    it("gives up within its time when the server is stopped, and goes on when it continues", async () => {
      const { keystore } = await fixture.over(SHORT);
      const record = sampleRecord();
      await storeText(keystore, record, "passphrase");
      fixture.freeze();
      try {
        const start = performance.now();
        await expect(keystore.fetch(keyUuidOf(record))).rejects.toMatchObject({
          code: "KEYSTORE_UNAVAILABLE",
        });
        expect(performance.now() - start).toBeLessThan(1000 * SHORT + GRACE);
      } finally {
        fixture.thaw();
      }
      const { keystore: patient } = await fixture.over(30);
      expect(await passphraseIn(patient, record)).toEqual(Buffer.from("passphrase"));
    });

    it("goes on after the server was restarted", async () => {
      const record = sampleRecord();
      await storeText(fixture.keystore, record, "survives");
      await fixture.restart();
      expect(await passphraseIn(fixture.keystore, record)).toEqual(Buffer.from("survives"));
      await storeText(fixture.keystore, sampleRecord(), "another");
    });

    it("never says that a key is not there when an answer is lost", async () => {
      const record = sampleRecord();
      await storeText(fixture.keystore, record, "passphrase");
      for (const after of cuts) {
        const { keystore, line } = await fixture.over(SHORT);
        line.weather = { kind: "cut", after };
        await expect(keystore.fetch(keyUuidOf(record)), `cut after ${after}`).rejects.toMatchObject({
          code: "KEYSTORE_UNAVAILABLE",
        });
        line.weather = { kind: "fine" };
        expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("passphrase"));
      }
    });

    it("stores a key whole or not at all when an answer is lost", async () => {
      for (const after of cuts) {
        const { keystore, line } = await fixture.over(SHORT);
        const record = sampleRecord();
        line.weather = { kind: "cut", after };
        const outcome = await storeText(keystore, record, `of ${record.uuid}`).then(
          () => "stored",
          (thrown: unknown) => (thrown as LuksmithError).code,
        );
        line.weather = { kind: "fine" };
        expect(["stored", "KEYSTORE_UNAVAILABLE", "KEYSTORE_WRITE_FAILED"]).toContain(outcome);
        const kept = await fixture.keystore.fetch(keyUuidOf(record));
        if (outcome === "stored") expect(kept).toBeDefined();
        if (kept === undefined) await storeText(fixture.another(), record, `of ${record.uuid}`);
        else kept.passphrase.dispose();
        expect(await passphraseIn(fixture.keystore, record)).toEqual(Buffer.from(`of ${record.uuid}`));
        expect((await fixture.keystore.list()).filter(({ uuid }) => uuid === record.uuid)).toEqual([record]);
      }
    });

    it("replaces a passphrase or not at all when an answer is lost", async () => {
      for (const after of cuts) {
        const { keystore, line } = await fixture.over(SHORT);
        const record = sampleRecord();
        await storeText(fixture.keystore, record, "former");
        const rotated = { ...record, generation: 2 };
        line.weather = { kind: "cut", after };
        const outcome = await replaceText(keystore, rotated, "new").then(
          () => "replaced",
          (thrown: unknown) => (thrown as LuksmithError).code,
        );
        line.weather = { kind: "fine" };
        expect(["replaced", "KEYSTORE_UNAVAILABLE", "KEYSTORE_WRITE_FAILED"]).toContain(outcome);
        const kept = String(await passphraseIn(fixture.keystore, record));
        expect(outcome === "replaced" ? ["new"] : ["former", "new"]).toContain(kept);
        // whoever goes on gets there, whatever is left
        await replaceText(fixture.another(), rotated, "new");
        expect(await passphraseIn(fixture.keystore, record)).toEqual(Buffer.from("new"));
        expect((await fixture.keystore.list()).filter(({ uuid }) => uuid === record.uuid)).toEqual([rotated]);
      }
    });

    it("changes a record once or not at all when an answer is lost", async () => {
      for (const after of cuts) {
        const { keystore, line } = await fixture.over(SHORT);
        const record = sampleRecord({ disk: "a" });
        await storeText(fixture.keystore, record, "stays");
        line.weather = { kind: "cut", after };
        const outcome = await keystore
          .change(keyUuidOf(record), (now) => ({ ...now, disk: `${now.disk}b` }))
          .then(
            () => "changed",
            (thrown: unknown) => (thrown as LuksmithError).code,
          );
        line.weather = { kind: "fine" };
        expect(["changed", "KEYSTORE_UNAVAILABLE", "KEYSTORE_WRITE_FAILED"]).toContain(outcome);
        const kept = (await fixture.keystore.list()).filter(({ uuid }) => uuid === record.uuid);
        expect(kept).toEqual([
          { ...record, disk: outcome === "changed" || kept[0]?.disk === "ab" ? "ab" : "a" },
        ]);
        expect(await passphraseIn(fixture.keystore, record)).toEqual(Buffer.from("stays"));
      }
    });

    it("does not believe a damaged answer", async () => {
      const record = sampleRecord();
      await storeText(fixture.keystore, record, "passphrase");
      const { keystore, line } = await fixture.over(SHORT);
      line.weather = { kind: "corrupt", change: (answer) => fixture.spoil(answer) };
      for (const operation of [...operations(keystore), () => keystore.fetch(keyUuidOf(record))]) {
        await expect(operation()).rejects.toMatchObject({
          code: expect.stringMatching(
            /^KEYSTORE_(ANSWER_INVALID|UNAVAILABLE|TLS_FAILED|WRITE_FAILED)$/,
          ) as string,
        });
      }
      line.weather = { kind: "fine" };
      expect(await passphraseIn(fixture.keystore, record)).toEqual(Buffer.from("passphrase"));
    });

    it("asks once for each key, over few connections", async () => {
      const records = Array.from({ length: 16 }, () => sampleRecord());
      for (const record of records) await storeText(fixture.keystore, record, `of ${record.uuid}`);
      const { keystore, line } = await fixture.over(30);
      const fetched = await Promise.all(records.map((record) => passphraseIn(keystore, record)));
      expect(fetched).toEqual(records.map(({ uuid }) => Buffer.from(`of ${uuid}`)));
      expect(line.connections).toBeLessThanOrEqual(16);
    });

    it("tests itself, and tells each check that passed", async () => {
      const passed: string[] = [];
      await fixture.keystore.test((check) => passed.push(check));
      expect(passed).toEqual(expect.arrayContaining(["reached", "round trip"]));
      expect(passed.at(-1)).toBe("round trip");
    });

    it("tells no passphrase in an error", async () => {
      const { keystore, line } = await fixture.over(SHORT);
      line.weather = { kind: "corrupt", change: (answer) => fixture.spoil(answer) };
      const thrown = await storeText(keystore, sampleRecord(), "very secret passphrase").catch(
        (error: unknown) => error,
      );
      expect(thrown).toBeInstanceOf(LuksmithError);
      expect(renderError(thrown as LuksmithError)).not.toContain("very secret");
    });
  });
}

function operations(keystore: CompleteKeystore): (() => Promise<unknown>)[] {
  return [
    () => keystore.fetch(newKeyUuid()),
    () => storeText(keystore, sampleRecord(), "passphrase"),
    () => keystore.change(newKeyUuid(), (record) => record),
    () => keystore.update(sampleRecord()),
    () => replaceText(keystore, sampleRecord({ generation: 2 }), "passphrase"),
    () => keystore.find({}),
    () => keystore.list(),
    () => keystore.delete(newKeyUuid()),
    () => keystore.test(),
  ];
}
