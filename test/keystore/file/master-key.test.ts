import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { LuksmithError } from "../../../src/error/luksmith-error.js";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { MasterKey } from "../../../src/keystore/file/master-key.js";
import { temporaryDirectory, treeOf } from "../../fs/tree.js";
import { passphraseIn, sampleRecord, storeText } from "../sample-key.js";
import { fileKeystore, recordPath } from "./file-keystore.fixture.js";

const unusable = { code: "MASTER_KEY_UNUSABLE" };

async function prepare() {
  const directory = temporaryDirectory();
  const keystore = fileKeystore(directory);
  const record = sampleRecord();
  await storeText(keystore, record, "passphrase");
  return { directory, keystore, record, path: join(directory, "master-key.json") };
}

describe("file keystore: master key", () => {
  it("is made once, with 256 bits, and differs between keystores", async () => {
    const { keystore, path } = await prepare();
    const bytes = readFileSync(path);
    await storeText(keystore, sampleRecord(), "more");
    expect(readFileSync(path)).toEqual(bytes);
    const { key } = JSON.parse(bytes.toString()) as { key: string };
    expect(Buffer.from(key, "base64")).toHaveLength(32);
    expect(readFileSync((await prepare()).path)).not.toEqual(bytes);
  });

  it("is the first one for whoever makes it second", async () => {
    const { directory, path } = await prepare();
    const bytes = readFileSync(path);
    await new MasterKey(directory).make();
    expect(readFileSync(path)).toEqual(bytes);
    expect(Object.keys(treeOf(directory))).not.toContainEqual(expect.stringMatching(/tmp$/));
  });

  it("is never made anew where keys are, by a new instance or by one that knew the old one", async () => {
    const { directory, keystore, record, path } = await prepare();
    rmSync(path);
    const before = treeOf(directory);
    for (const instance of [keystore, fileKeystore(directory)]) {
      await expect(storeText(instance, sampleRecord(), "new")).rejects.toMatchObject(unusable);
      await expect(instance.fetch(keyUuidOf(record))).rejects.toMatchObject(unusable);
      await expect(instance.update(record)).rejects.toMatchObject(unusable);
      await expect(instance.test()).rejects.toMatchObject(unusable);
      expect(await instance.fetch(newKeyUuid())).toBeUndefined();
    }
    expect(treeOf(directory)).toEqual(before);
  });

  it("serves again when it comes back", async () => {
    const { keystore, record, path } = await prepare();
    renameSync(path, `${path}.away`);
    await expect(keystore.fetch(keyUuidOf(record))).rejects.toMatchObject(unusable);
    renameSync(`${path}.away`, path);
    expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("passphrase"));
  });

  it.each([
    ["empty", () => ""],
    ["cut off", (text: string) => text.slice(0, 40)],
    ["of a newer version", (text: string) => text.replace('"version":1', '"version":2')],
    ["of an unknown protector", (text: string) => text.replace('"file"', '"magic"')],
    ["too short a key", (text: string) => text.replace(/"key":"..../, '"key":"')],
    ["a key in another alphabet", (text: string) => text.replace(/"key":"./, '"key":"_')],
    ["binary", () => "\0\u0001\u0002"],
  ])("is refused when it is %s, without a word of the file in the error", async (_, damage) => {
    const { directory, keystore, record, path } = await prepare();
    const text = readFileSync(path, "utf8");
    const { key } = JSON.parse(text) as { key: string };
    writeFileSync(path, damage(text));
    const before = treeOf(directory);
    const error = await keystore.fetch(keyUuidOf(record)).then(
      () => undefined,
      (thrown: unknown) => thrown as LuksmithError,
    );
    expect(error).toMatchObject(unusable);
    expect(`${error!.message}${error!.why!}${String(error!.cause)}`).not.toContain(key.slice(4, 20));
    await expect(storeText(keystore, sampleRecord(), "new")).rejects.toMatchObject(unusable);
    expect(treeOf(directory)).toEqual(before);
  });

  it("of another keystore opens nothing, and encrypts nothing that its return would lose", async () => {
    const { keystore, record, path } = await prepare();
    const own = readFileSync(path);
    writeFileSync(path, readFileSync((await prepare()).path));
    await expect(keystore.fetch(keyUuidOf(record))).rejects.toMatchObject(unusable);
    await expect(storeText(keystore, sampleRecord(), "more")).rejects.toMatchObject(unusable);
    await expect(keystore.update(record)).rejects.toMatchObject(unusable);
    writeFileSync(path, own);
    expect(await keystore.list()).toEqual([record]);
    (await keystore.fetch(keyUuidOf(record)))!.passphrase.dispose();
  });

  it.each(["00000000", "ffffffff"])(
    "of another keystore is noticed beside a damaged record, whose name begins with %s",
    async (start) => {
      const { directory, keystore, path } = await prepare();
      writeFileSync(path, readFileSync((await prepare()).path));
      const damaged = start + newKeyUuid().slice(8);
      writeFileSync(recordPath(directory, { uuid: damaged }), "garbage", { mode: 0o600 });
      const before = treeOf(directory);
      await expect(storeText(keystore, sampleRecord(), "more")).rejects.toMatchObject(unusable);
      expect(treeOf(directory)).toEqual(before);
    },
  );

  it("encrypts nothing more when no record is left that tells whether it is the right one", async () => {
    const { directory, keystore, record } = await prepare();
    writeFileSync(recordPath(directory, record), "garbage");
    const before = treeOf(directory);
    await expect(storeText(keystore, sampleRecord(), "more")).rejects.toMatchObject({ code: "KEY_CORRUPT" });
    expect(treeOf(directory)).toEqual(before);
  });
});
