import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { LuksmithError } from "../../../src/error/luksmith-error.js";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import type { KeyRecord } from "../../../src/generated/key-record.js";
import { temporaryDirectory, treeOf } from "../../fs/tree.js";
import { passphraseIn, sampleRecord, storeText } from "../sample-key.js";
import { fileKeystore, recordPath } from "./file-keystore.fixture.js";

interface Prepared {
  readonly directory: string;
  readonly record: KeyRecord;
}

async function prepare(): Promise<Prepared> {
  const directory = join(temporaryDirectory(), "key store");
  const record = sampleRecord();
  await storeText(fileKeystore(directory), record, "passphrase");
  return { directory, record };
}

const PATHS: readonly [string, (prepared: Prepared) => string][] = [
  ["the directory", ({ directory }) => directory],
  ["the directory of the records", ({ directory }) => join(directory, "records")],
  ["the master key", ({ directory }) => join(directory, "master-key.json")],
  ["a record", ({ directory, record }) => recordPath(directory, record)],
];

async function refusal(work: Promise<unknown>): Promise<LuksmithError> {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toMatchObject({ code: "PERMISSIONS_UNSAFE" });
  return error as LuksmithError;
}

describe("file keystore: permissions", () => {
  describe.each(PATHS)("of %s", (_, pathIn) => {
    it.each([0o040, 0o020, 0o010, 0o004, 0o002, 0o001])(
      "refuses mode bits %o, and names the cure",
      async (bits) => {
        const prepared = await prepare();
        const { directory, record } = prepared;
        const path = pathIn(prepared);
        chmodSync(path, 0o600 | 0o100 | bits);
        const error = await refusal(fileKeystore(directory).fetch(keyUuidOf(record)));
        execFileSync("sh", ["-c", error.hint!]);
        expect(await passphraseIn(fileKeystore(directory), record)).toEqual(Buffer.from("passphrase"));
      },
    );

    it("refuses another owner than root, and names the cure", async () => {
      const prepared = await prepare();
      const { directory, record } = prepared;
      chownSync(pathIn(prepared), 65534, 65534);
      const error = await refusal(fileKeystore(directory).fetch(keyUuidOf(record)));
      execFileSync("sh", ["-c", error.hint!]);
      expect(await passphraseIn(fileKeystore(directory), record)).toEqual(Buffer.from("passphrase"));
    });

    it("refuses a symbolic link, even to the right thing", async () => {
      const prepared = await prepare();
      const { directory, record } = prepared;
      const path = pathIn(prepared);
      renameSync(path, `${path}.moved`);
      symlinkSync(`${path}.moved`, path);
      await refusal(fileKeystore(directory).fetch(keyUuidOf(record)));
    });

    it("refuses what is of another kind, without waiting for it", async () => {
      const prepared = await prepare();
      const { directory, record } = prepared;
      const path = pathIn(prepared);
      rmSync(path, { recursive: true });
      execFileSync("mkfifo", ["-m", "600", path]);
      await refusal(fileKeystore(directory).fetch(keyUuidOf(record)));
    });
  });

  it.each(PATHS.slice(0, 3))(
    "stores, updates, lists and deletes nothing while %s is unsafe",
    async (_, pathIn) => {
      const prepared = await prepare();
      const { directory, record } = prepared;
      chmodSync(pathIn(prepared), 0o777);
      const before = treeOf(directory);
      const keystore = fileKeystore(directory);
      await refusal(storeText(keystore, sampleRecord(), "new"));
      await refusal(keystore.update({ ...record, state: "active" }));
      await refusal(keystore.test());
      expect(treeOf(directory)).toEqual(before);
    },
  );

  it("lists no record that is unsafe", async () => {
    const { directory, record } = await prepare();
    chmodSync(recordPath(directory, record), 0o644);
    await refusal(fileKeystore(directory).list());
    await refusal(fileKeystore(directory).test());
  });

  it("tells whoever is not root to become it", async () => {
    const { directory, record } = await prepare();
    process.seteuid!(65534);
    try {
      const keystore = fileKeystore(directory);
      await expect(keystore.fetch(keyUuidOf(record))).rejects.toMatchObject({ code: "NOT_PERMITTED" });
      await expect(keystore.list()).rejects.toMatchObject({ code: "NOT_PERMITTED" });
      await expect(storeText(keystore, sampleRecord(), "new")).rejects.toMatchObject({
        code: "KEYSTORE_WRITE_FAILED",
      });
    } finally {
      process.seteuid!(0);
    }
  });

  it("refuses an unsafe directory that was there before the first key", async () => {
    const directory = join(temporaryDirectory(), "keystore");
    mkdirSync(directory, { mode: 0o755 });
    await refusal(storeText(fileKeystore(directory), sampleRecord(), "passphrase"));
    expect(Object.keys(treeOf(directory)).filter((name) => name.endsWith(".json"))).toEqual([]);
  });
});
