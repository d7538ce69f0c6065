import { describe, expect, it } from "vitest";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import { keyUuidOf } from "../../src/keystore/key-record.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { Keyring } from "../../src/keystore/keyring.js";
import type { Keystore } from "../../src/keystore/keystore.js";
import { temporaryDirectory } from "../fs/tree.js";
import { FileKeystore } from "../../src/keystore/file/file-keystore.js";
import { archivedRecord, sampleRecord, storeText } from "./sample-key.js";

/** A keyring of file keystores; those named `down…` do not answer, those named `broken…` cannot even be made. */
function keyringOf(...names: string[]) {
  const asked: string[] = [];
  const made: string[] = [];
  const keyring = new Keyring(
    names.map((name) => ({
      name,
      make: () => {
        made.push(name);
        if (name.startsWith("broken")) throw unavailable(name);
        const keystore = new FileKeystore({ name, type: "file", directory: temporaryDirectory() });
        const fetch: Keystore["fetch"] = async (uuid) => {
          asked.push(name);
          if (name.startsWith("down")) throw unavailable(name);
          return FileKeystore.prototype.fetch.call(keystore, uuid);
        };
        return Promise.resolve(Object.assign(keystore, { fetch }));
      },
    })),
  );
  return { keyring, asked, made };
}

function unavailable(name: string): LuksmithError {
  return new LuksmithError("KEYSTORE_UNAVAILABLE", { what: `keystore ${name} does not answer` });
}

describe("keyring", () => {
  it("makes a keystore when it is first needed, once", async () => {
    const { keyring, made } = keyringOf("a", "b", "broken");
    expect(made).toEqual([]);
    expect((await keyring.get("b")).name).toBe("b");
    expect(await keyring.get("b")).toBe(await keyring.get("b"));
    expect(made).toEqual(["b"]);
  });

  it("has all keystores in the order of the settings", async () => {
    const { keyring, made } = keyringOf("b", "a");
    expect((await keyring.all()).map(({ name }) => name)).toEqual(["b", "a"]);
    expect((await keyring.all())[1]).toBe(await keyring.get("a"));
    expect(made).toEqual(["b", "a"]);
  });

  it("names the known keystores when it is asked for another", async () => {
    const { keyring } = keyringOf("a", "b");
    await expect(keyring.get("c")).rejects.toEqual(
      expect.objectContaining({ code: "KEYSTORE_UNKNOWN", hint: expect.stringContaining("a, b") as string }),
    );
  });

  it("locates a key, and asks no further keystore than the first if that has it", async () => {
    const { keyring, asked } = keyringOf("a", "b", "down");
    const record = sampleRecord();
    await storeText(await keyring.get("a"), record, "passphrase");
    const location = await keyring.locate(keyUuidOf(record));
    expect(location).toMatchObject({ kind: "found", keystore: { name: "a" }, key: { record } });
    expect(asked).toEqual(["a"]);
  });

  it("asks all others at once: one that hangs holds nobody up twice", async () => {
    const { keyring, asked } = keyringOf("a", "b", "c");
    const record = sampleRecord();
    for (const name of ["b", "c"]) await storeText(await keyring.get(name), record, `of ${name}`);
    const location = await keyring.locate(keyUuidOf(record));
    expect(location).toMatchObject({ kind: "found", keystore: { name: "b" }, key: { record } });
    expect(asked).toEqual(["a", "b", "c"]);
  });

  it("finds a key that moves from one keystore to another meanwhile, in whichever order they are asked", async () => {
    const record = sampleRecord();
    const make = (name: string) => new FileKeystore({ name, type: "file", directory: temporaryDirectory() });
    const [to, from] = [make("to"), make("from")];
    await storeText(from, record, "moves");
    const asked = { to: 0 };
    const moved: Keystore["fetch"] = async (uuid) => {
      const key = await FileKeystore.prototype.fetch.call(to, uuid);
      if (asked.to++ > 0) return key;
      await storeText(to, record, "moves");
      await from.delete(uuid);
      return key;
    };
    const keyring = new Keyring([
      { name: "to", make: () => Promise.resolve(Object.assign(to, { fetch: moved })) },
      { name: "from", make: () => Promise.resolve(from) },
    ]);
    expect(await keyring.locate(keyUuidOf(record))).toMatchObject({
      kind: "found",
      keystore: { name: "to" },
      key: { record },
    });
  });

  it("asks the preferred keystore first, whose key holds", async () => {
    const { keyring, asked } = keyringOf("a", "b");
    const record = sampleRecord();
    await storeText(await keyring.get("a"), record, "of a");
    await storeText(await keyring.get("b"), record, "of b");
    const location = await keyring.locate(keyUuidOf(record), "b");
    expect(location).toMatchObject({ kind: "found", keystore: { name: "b" } });
    expect(asked).toEqual(["b"]);
  });

  it("finds a key behind a keystore that is down", async () => {
    const { keyring } = keyringOf("down", "broken", "b");
    const record = sampleRecord();
    await storeText(await keyring.get("b"), record, "passphrase");
    expect(await keyring.locate(keyUuidOf(record))).toMatchObject({ kind: "found", keystore: { name: "b" } });
  });

  it("says unknown only when every keystore has answered", async () => {
    expect(await keyringOf("a", "b").keyring.locate(newKeyUuid())).toEqual({ kind: "unknown" });
    for (const names of [
      ["a", "down"],
      ["down", "a"],
      ["a", "broken"],
    ]) {
      expect(await keyringOf(...names).keyring.locate(newKeyUuid())).toMatchObject({
        kind: "unavailable",
        error: { code: "KEYSTORE_UNAVAILABLE" },
      });
    }
  });

  it("reports the first error, that of the preferred keystore", async () => {
    const { keyring } = keyringOf("down-a", "down-b");
    expect(await keyring.locate(newKeyUuid(), "down-b")).toMatchObject({
      error: { message: "keystore down-b does not answer" },
    });
  });

  it("has the former passphrases of a key from all keystores, the newest first, each once", async () => {
    const { keyring } = keyringOf("a", "b");
    const [record, other] = [sampleRecord(), sampleRecord()];
    const former = [archivedRecord(record, 1), archivedRecord(record, 2), archivedRecord(record, 10)];
    const [a, b] = [await keyring.get("a"), await keyring.get("b")];
    await storeText(a, former[0]!, "first");
    await storeText(b, former[2]!, "tenth");
    for (const keystore of [a, b]) await storeText(keystore, former[1]!, "second");
    await storeText(a, record, "present");
    await storeText(b, archivedRecord(other, 1), "of another");
    const keys = await keyring.former(keyUuidOf(record));
    expect(keys.map(({ passphrase }) => passphrase.use(String))).toEqual(["tenth", "second", "first"]);
    expect(keys.map((key) => key.record)).toEqual([former[2], former[1], former[0]]);
    for (const { passphrase } of keys) passphrase.dispose();
    expect(await keyring.former(keyUuidOf(former[0]!))).toEqual([]);
  });

  it("does not say that there are no former passphrases while a keystore does not answer", async () => {
    const { keyring } = keyringOf("a", "broken");
    await expect(keyring.former(newKeyUuid())).rejects.toMatchObject({ code: "KEYSTORE_UNAVAILABLE" });
  });
});
