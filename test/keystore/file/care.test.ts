import { readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import { KeystoreCare } from "../../../src/keystore/file/care.js";
import { statusOf } from "../../../src/keystore/file/status.js";
import { Secret } from "../../../src/secret/secret.js";
import { smallDisk } from "../../fs/small-disk.js";
import { temporaryDirectory, treeOf } from "../../fs/tree.js";
import { passphraseIn, sampleRecord, storeText } from "../sample-key.js";
import { fileKeystore, filesBelow, recordPath } from "./file-keystore.fixture.js";

const runner = new ExecaCommandRunner();

async function prepare(directory = join(temporaryDirectory(), "keystore")) {
  const record = sampleRecord();
  await storeText(fileKeystore(directory), record, "passphrase");
  const locks = join(temporaryDirectory(), "lock");
  const care = new KeystoreCare({ name: "local", type: "file", directory }, runner, locks);
  const path = join(directory, "master-key.json");
  const json = () => JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
  return { directory, locks, record, care, path, json };
}

/** Makes a recovery passphrase, and what it is. */
async function create(care: KeystoreCare, existing: "keep" | "replace" = "keep"): Promise<Buffer> {
  let shown = Buffer.alloc(0);
  await care.createRecovery({ manner: "apply", existing }, (passphrase) => {
    shown = passphrase.use((bytes) => Buffer.from(bytes));
    return Promise.resolve();
  });
  return shown;
}

const secret = (bytes: Buffer) => Secret.own(Buffer.from(bytes));

describe("recovery passphrase of a keystore", () => {
  it("brings the master key back when the protector's form is lost or damaged", async () => {
    const { care, record, directory, path, json } = await prepare();
    const key = json()["key"];
    const passphrase = await create(care);
    for (const change of [{ key: undefined }, { key: "A".repeat(43) + "=" }, { protector: "magic" }]) {
      writeFileSync(path, JSON.stringify({ ...json(), ...change }));
      await expect(passphraseIn(fileKeystore(directory), record)).rejects.toMatchObject({
        code: "MASTER_KEY_UNUSABLE",
        hint: expect.stringContaining("recovery") as string,
      });
      await care.restore(secret(passphrase), "apply");
      expect(json()["key"]).toBe(key);
      expect(await passphraseIn(fileKeystore(directory), record)).toEqual(Buffer.from("passphrase"));
    }
  });

  it("is in no file, and not the master key either but for the protector's form", async () => {
    const { care, directory, json } = await prepare();
    const key = Buffer.from(json()["key"] as string, "base64");
    const passphrase = await create(care);
    for (const file of filesBelow(directory)) {
      const text = readFileSync(file, "latin1");
      expect(text).not.toContain(passphrase.subarray(0, 10).toString("latin1"));
      expect(text.split(key.subarray(0, 9).toString("base64"))).toHaveLength(
        file.endsWith("master-key.json") ? 2 : 1,
      );
    }
  });

  it("opens nothing when it is another one, and nothing changes", async () => {
    const { care, directory } = await prepare();
    const [own, other] = [await create(care), await create((await prepare()).care)];
    const before = treeOf(directory);
    await expect(care.restore(secret(other), "apply")).rejects.toMatchObject({ code: "RECOVERY_REJECTED" });
    own[3] = own[3]! ^ 1;
    await expect(care.restore(secret(own), "apply")).rejects.toMatchObject({ code: "RECOVERY_REJECTED" });
    expect(treeOf(directory)).toEqual(before);
  });

  it.each(["salt", "masterKey", "iv", "ciphertext", "tag", "createdAt"])(
    "opens nothing when %s of its form was changed",
    async (member) => {
      const { care, path, json } = await prepare();
      const passphrase = await create(care);
      const recovery = json()["recovery"] as Record<string, string>;
      const value = recovery[member]!;
      const changed = `${value.slice(0, 5)}${value[5] === "1" ? "2" : "1"}${value.slice(6)}`;
      writeFileSync(path, JSON.stringify({ ...json(), recovery: { ...recovery, [member]: changed } }));
      await expect(care.restore(secret(passphrase), "apply")).rejects.toMatchObject({
        code: "RECOVERY_REJECTED",
      });
    },
  );

  it("is made once, replaced when that is asked for, and stays through reprotect", async () => {
    const { care, json } = await prepare();
    const first = await create(care);
    await expect(create(care)).rejects.toMatchObject({ code: "RECOVERY_EXISTS" });
    const second = await create(care, "replace");
    await expect(care.restore(secret(first), "apply")).rejects.toMatchObject({ code: "RECOVERY_REJECTED" });
    const recovery = json()["recovery"];
    await care.reprotect("apply");
    await care.restore(secret(second), "apply");
    expect(json()["recovery"]).toEqual(recovery);
  });

  it("does not count when it could not be shown: the earlier one goes on", async () => {
    const { care, directory } = await prepare();
    const first = await create(care);
    const before = treeOf(directory);
    const unshown = care.createRecovery({ manner: "apply", existing: "replace" }, () =>
      Promise.reject(new Error("nobody reads")),
    );
    await expect(unshown).rejects.toThrow("nobody reads");
    expect(treeOf(directory)).toEqual(before);
    await care.restore(secret(first), "apply");
  });

  it("is removed, and removed again", async () => {
    const { care, json } = await prepare();
    const passphrase = await create(care);
    expect(await care.removeRecovery("apply")).toBe(true);
    expect(Object.keys(json())).toEqual(["version", "protector", "key"]);
    expect(await care.removeRecovery("apply")).toBe(false);
    await expect(care.restore(secret(passphrase), "apply")).rejects.toMatchObject({
      code: "RECOVERY_REJECTED",
    });
  });

  it("is made for no master key but the one of the records, and none is there before the first key", async () => {
    const { care, path, directory } = await prepare();
    writeFileSync(path, readFileSync((await prepare()).path));
    await expect(create(care)).rejects.toMatchObject({ code: "MASTER_KEY_UNUSABLE" });
    rmSync(path);
    await expect(create(care)).rejects.toMatchObject({ code: "MASTER_KEY_UNUSABLE" });
    rmSync(directory, { recursive: true });
    await expect(create(care)).rejects.toMatchObject({ code: "KEY_NOT_FOUND" });
  });

  it("changes nothing in a dry run", async () => {
    const { care, directory } = await prepare();
    const passphrase = await create(care);
    const before = treeOf(directory);
    await care.createRecovery({ manner: "dry-run", existing: "replace" }, () =>
      Promise.reject(new Error("shown")),
    );
    expect(await care.removeRecovery("dry-run")).toBe(true);
    await care.restore(secret(passphrase), "dry-run");
    await care.reprotect("dry-run");
    expect(treeOf(directory)).toEqual(before);
  });

  it("is one at a time, whatever path leads to the directory", async () => {
    const { directory, locks, care } = await prepare();
    const link = join(temporaryDirectory(), "link");
    symlinkSync(dirname(directory), link);
    const made: string[] = [];
    const paths = [`${directory}/`, join(link, "keystore")];
    const others = paths.map(
      (path) => new KeystoreCare({ name: "local", type: "file", directory: path }, runner, locks),
    );
    let running = 0;
    await Promise.all(
      [care, ...others].map((each) =>
        each.createRecovery({ manner: "apply", existing: "replace" }, async () => {
          running += 1;
          await setTimeout(600);
          made.push(`of ${running}`);
          running -= 1;
        }),
      ),
    );
    expect(made).toEqual(["of 1", "of 1", "of 1"]);
  });

  it.each(["bytes", "inodes"] as const)("changes nothing when there are no %s left", async (what) => {
    const disk = smallDisk();
    const { care, directory } = await prepare(join(disk.path, "keystore"));
    const before = treeOf(directory);
    disk.fill(what);
    await expect(create(care, "replace")).rejects.toMatchObject({ code: "KEYSTORE_WRITE_FAILED" });
    await expect(care.reprotect("apply")).rejects.toMatchObject({ code: "KEYSTORE_WRITE_FAILED" });
    expect(treeOf(directory)).toEqual(before);
    disk.free();
    await create(care, "replace");
  });
});

describe("status of a file keystore", () => {
  it("says what is there, and opens nothing", async () => {
    const { care, directory, path, record } = await prepare();
    const place = { name: "local", type: "file" as const, directory };
    expect(await statusOf(place, runner)).toEqual({
      keys: 1,
      masterKey: "present",
      protector: { stored: "file", settings: "file", differs: false },
    });
    await create(care);
    const tpm2 = { ...place, protector: { type: "tpm2" as const } };
    expect(await statusOf(tpm2, runner)).toMatchObject({
      protector: { stored: "file", settings: "tpm2", differs: true },
      recovery: expect.stringMatching(/^20/) as string,
    });
    writeFileSync(path, readFileSync(path, "utf8").replace('"file"', '"magic"'));
    expect(await statusOf(place, runner)).toMatchObject({
      masterKey: "unusable",
      recovery: expect.any(String) as string,
    });
    rmSync(path);
    expect(await statusOf(place, runner)).toMatchObject({ masterKey: "unusable" });
    rmSync(recordPath(directory, record));
    expect(await statusOf(place, runner)).toEqual({
      keys: 0,
      masterKey: "missing",
      protector: { settings: "file", differs: false },
    });
  });
});
