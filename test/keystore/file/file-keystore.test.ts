import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { LuksmithError } from "../../../src/error/luksmith-error.js";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { Secret } from "../../../src/secret/secret.js";
import { keystoreContract } from "../../contract/keystore.contract.js";
import { temporaryDirectory, treeOf } from "../../fs/tree.js";
import { passphraseIn, sampleRecord, storeText } from "../sample-key.js";
import { fileKeystore, filesBelow, recordPath, writePrivate } from "./file-keystore.fixture.js";

keystoreContract("file keystore", () => {
  const parent = mkdtempSync(join(tmpdir(), "luksmith-test-"));
  const another = () => fileKeystore(join(parent, "keystore"));
  return Promise.resolve({
    keystore: another(),
    another,
    [Symbol.asyncDispose]: () => rm(parent, { recursive: true }),
  });
});

describe("file keystore", () => {
  it("has no key, and makes nothing, where there is no directory", async () => {
    const parent = temporaryDirectory();
    const keystore = fileKeystore(join(parent, "keystore"));
    expect(await keystore.fetch(newKeyUuid())).toBeUndefined();
    expect(await keystore.list()).toEqual([]);
    await keystore.delete(newKeyUuid());
    expect(treeOf(parent)).toEqual({});
  });

  it("makes directories and files that root alone may read, whatever the umask", async () => {
    const parent = temporaryDirectory();
    const umask = process.umask(0);
    try {
      await storeText(fileKeystore(join(parent, "lib/keystore")), sampleRecord(), "passphrase");
    } finally {
      process.umask(umask);
    }
    for (const name of readdirSync(parent, { recursive: true, encoding: "utf8" })) {
      const stats = lstatSync(join(parent, name));
      expect([name, stats.uid, stats.mode & 0o7777]).toEqual([name, 0, stats.isFile() ? 0o600 : 0o700]);
    }
  });

  it("lays its files out as documented", async () => {
    const directory = temporaryDirectory();
    const record = sampleRecord();
    await storeText(fileKeystore(directory), record, "passphrase");
    expect(Object.keys(treeOf(directory))).toEqual([
      "master-key.json",
      "records",
      `records/${record.uuid}.json`,
    ]);
    const stored: unknown = JSON.parse(readFileSync(recordPath(directory, record), "utf8"));
    expect(stored).toMatchObject({ version: 1, algorithm: "aes-256-gcm", record });
    const masterKey: unknown = JSON.parse(readFileSync(join(directory, "master-key.json"), "utf8"));
    expect(masterKey).toMatchObject({ version: 1, protector: "file" });
  });

  it("has no key again that was deleted during its update, at whatever moment", async () => {
    const directory = temporaryDirectory();
    const keystore = fileKeystore(directory);
    for (let moment = 0; moment < 40; moment++) {
      const record = sampleRecord();
      await storeText(keystore, record, "passphrase");
      const updated = keystore.update({ ...record, state: "active" }).then(
        () => "done",
        (thrown: unknown) => (thrown as LuksmithError).code,
      );
      for (let tick = 0; tick < moment; tick++) await Promise.resolve();
      await fileKeystore(directory).delete(keyUuidOf(record));
      expect(["done", "KEY_NOT_FOUND"]).toContain(await updated);
      expect(await keystore.fetch(keyUuidOf(record)), `after ${moment} ticks`).toBeUndefined();
    }
    expect(await keystore.list()).toEqual([]);
  });

  it("uses a fresh IV for every write", async () => {
    const directory = temporaryDirectory();
    const keystore = fileKeystore(directory);
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    const ivs = new Set<string>();
    for (let i = 0; i < 20; i++) {
      await keystore.update(record);
      const text = readFileSync(recordPath(directory, record), "utf8");
      ivs.add((JSON.parse(text) as { iv: string }).iv);
    }
    expect(ivs.size).toBe(20);
  });

  it("lets no byte of a passphrase reach the disk in clear, as base64 or as hexadecimal", async () => {
    const directory = temporaryDirectory();
    const keystore = fileKeystore(directory);
    using passphrase = Secret.randomPassphrase();
    const record = sampleRecord();
    await keystore.store({ record, passphrase });
    await keystore.update({ ...record, state: "active" });
    const files = filesBelow(directory);
    expect(files).toHaveLength(2);
    passphrase.use((bytes) => {
      for (const encoding of ["latin1", "base64", "hex"] as const) {
        // any 12 bytes of it would be too many; shifted base64 reads differently
        for (const offset of [0, 1, 2]) {
          const needle = bytes.subarray(offset, offset + 12).toString(encoding);
          for (const file of files) expect(readFileSync(file, "latin1")).not.toContain(needle);
        }
      }
    });
  });

  it("ignores files in its directory that are not its own", async () => {
    const directory = temporaryDirectory();
    const keystore = fileKeystore(directory);
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    mkdirSync(join(directory, "records/lost+found"));
    for (const name of ["README", `${record.uuid}.json.bak`, `${record.uuid.toUpperCase()}.json`, "x.json"]) {
      writePrivate(join(directory, "records", name), "not a key");
    }
    expect(await keystore.list()).toEqual([record]);
    await keystore.test();
  });

  it("stores no empty passphrase and none that its file could not be read back with", async () => {
    const directory = temporaryDirectory();
    const keystore = fileKeystore(directory);
    for (const text of ["", "x".repeat(300 * 1024)]) {
      await expect(storeText(keystore, sampleRecord(), text)).rejects.toMatchObject({
        code: "KEYSTORE_WRITE_FAILED",
      });
    }
    expect(readdirSync(join(directory, "records"))).toEqual([]);
  });

  it("stores no record that the schema refuses, and updates to none", async () => {
    const directory = temporaryDirectory();
    const keystore = fileKeystore(directory);
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    const before = treeOf(directory);
    const wrong = { ...record, encryption: { ...record.encryption, keySize: Number.NaN } };
    const failed = { code: "KEYSTORE_WRITE_FAILED" };
    await expect(keystore.update(wrong)).rejects.toMatchObject(failed);
    await expect(storeText(keystore, { ...wrong, uuid: newKeyUuid() }, "x")).rejects.toMatchObject(failed);
    expect(treeOf(directory)).toEqual(before);
  });

  it("deletes what killed tests left, once it is old", async () => {
    const keystore = fileKeystore(temporaryDirectory());
    const guest = { id: "luksmith-test", name: "luksmith-test" };
    const old = sampleRecord({ guest, createdAt: "2020-01-01T00:00:00.000Z" });
    const fresh = sampleRecord({ guest, createdAt: new Date().toISOString() });
    for (const record of [old, fresh]) await storeText(keystore, record, "passphrase");
    await keystore.test();
    expect(await keystore.list()).toEqual([fresh]);
  });

  it("answers with the passphrase of the file as it is now, not of an earlier fetch", async () => {
    const directory = temporaryDirectory();
    const reader = fileKeystore(directory);
    const record = sampleRecord();
    await storeText(fileKeystore(directory), record, "old");
    expect(await passphraseIn(reader, record)).toEqual(Buffer.from("old"));
    await fileKeystore(directory).delete(keyUuidOf(record));
    await storeText(fileKeystore(directory), record, "new");
    expect(await passphraseIn(reader, record)).toEqual(Buffer.from("new"));
  });
});
