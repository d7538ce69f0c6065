import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import { smallDisk } from "../../fs/small-disk.js";
import { treeOf } from "../../fs/tree.js";
import { passphraseIn, sampleRecord, storeText } from "../sample-key.js";
import { fileKeystore } from "./file-keystore.fixture.js";

const failed = { code: "KEYSTORE_WRITE_FAILED" };

describe("file keystore: faults of the disk", () => {
  it.each(["bytes", "inodes"] as const)("changes nothing when there are no %s left", async (what) => {
    const disk = smallDisk();
    const directory = join(disk.path, "keystore");
    const keystore = fileKeystore(directory);
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    const before = treeOf(directory);
    disk.fill(what);
    await expect(storeText(keystore, sampleRecord(), "new")).rejects.toMatchObject(failed);
    await expect(keystore.update({ ...record, state: "active" })).rejects.toMatchObject(failed);
    await expect(keystore.test()).rejects.toMatchObject(failed);
    expect(treeOf(directory)).toEqual(before);
    expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("passphrase"));
    disk.free();
    await keystore.update({ ...record, state: "active" });
    await storeText(keystore, sampleRecord(), "new");
    await keystore.test();
  });

  it.each(["bytes", "inodes"] as const)(
    "makes its first key after a failure for want of %s",
    async (what) => {
      const disk = smallDisk();
      const directory = join(disk.path, "keystore");
      const keystore = fileKeystore(directory);
      disk.fill(what);
      const record = sampleRecord();
      await expect(storeText(keystore, record, "passphrase")).rejects.toMatchObject(failed);
      expect(await passphraseIn(keystore, record)).toBeUndefined();
      disk.free();
      await storeText(keystore, record, "passphrase");
      expect(await passphraseIn(fileKeystore(directory), record)).toEqual(Buffer.from("passphrase"));
      expect(Object.keys(treeOf(directory))).toHaveLength(3);
    },
  );

  it("serves from a read-only file system, and says that it cannot write", async () => {
    const disk = smallDisk();
    const keystore = fileKeystore(join(disk.path, "keystore"));
    const record = sampleRecord();
    await storeText(keystore, record, "passphrase");
    const before = treeOf(disk.path);
    disk.remount("ro");
    expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("passphrase"));
    expect(await keystore.list()).toEqual([record]);
    await expect(storeText(keystore, sampleRecord(), "new")).rejects.toMatchObject(failed);
    await expect(keystore.update({ ...record, state: "active" })).rejects.toMatchObject(failed);
    await expect(keystore.delete(keyUuidOf(record))).rejects.toMatchObject(failed);
    await expect(storeText(fileKeystore(join(disk.path, "new")), record, "new")).rejects.toMatchObject(
      failed,
    );
    expect(treeOf(disk.path)).toEqual(before);
  });

  it("cannot make its directory below what is none", async () => {
    const keystore = fileKeystore("/dev/null/keystore");
    await expect(storeText(keystore, sampleRecord(), "new")).rejects.toMatchObject(failed);
  });
});
