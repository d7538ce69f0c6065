import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { temporaryDirectory } from "../../fs/tree.js";
import { passphraseIn, sampleRecord, storeText } from "../sample-key.js";
import { fileKeystore, recordPath } from "./file-keystore.fixture.js";

async function prepare() {
  const directory = temporaryDirectory();
  const keystore = fileKeystore(directory);
  const record = sampleRecord({ guest: { id: "1", name: "gästin \ufffd" } });
  await storeText(keystore, record, "passphrase");
  const path = recordPath(directory, record);
  return { directory, keystore, record, path, bytes: readFileSync(path) };
}

const corrupt = { code: "KEY_CORRUPT" };

describe("file keystore: damaged records", () => {
  it("never opens a record with any byte changed", async () => {
    const { keystore, record, path, bytes } = await prepare();
    // the newline at the end means nothing
    const position = fc.nat({ max: bytes.length - 2 });
    await fc.assert(
      fc.asyncProperty(position, fc.integer({ min: 1, max: 255 }), async (at, change) => {
        const changed = Buffer.from(bytes);
        changed[at] = changed[at]! ^ change;
        writeFileSync(path, changed);
        // a record that names another master key may be whole: it is not called damaged
        await expect(keystore.fetch(keyUuidOf(record))).rejects.toMatchObject({
          code: expect.stringMatching(/^(KEY_CORRUPT|MASTER_KEY_UNUSABLE)$/) as string,
        });
      }),
      { numRuns: 400 },
    );
  });

  it("never opens a record with any single bit of iv, ciphertext or tag flipped", async () => {
    const { keystore, record, path, bytes } = await prepare();
    const text = bytes.toString("latin1");
    for (const field of ["iv", "ciphertext", "tag"]) {
      const start = text.indexOf(`"${field}":"`) + field.length + 4;
      for (let at = start; text[at] !== '"'; at++) {
        for (let bit = 0; bit < 8; bit++) {
          const changed = Buffer.from(bytes);
          changed[at] = changed[at]! ^ (1 << bit);
          writeFileSync(path, changed);
          await expect(keystore.fetch(keyUuidOf(record))).rejects.toMatchObject(corrupt);
        }
      }
    }
    writeFileSync(path, bytes);
    expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("passphrase"));
  });

  it("never opens a record that is cut off anywhere, or empty, or followed by something", async () => {
    const { keystore, record, path, bytes } = await prepare();
    for (let length = 0; length < bytes.length - 1; length += 7) {
      writeFileSync(path, bytes.subarray(0, length));
      await expect(keystore.fetch(keyUuidOf(record))).rejects.toMatchObject(corrupt);
    }
    for (const end of ["x", "{}", "\0", " ".repeat(300 * 1024)]) {
      writeFileSync(path, Buffer.concat([bytes, Buffer.from(end)]));
      await expect(keystore.fetch(keyUuidOf(record))).rejects.toMatchObject(corrupt);
    }
  });

  it("takes no malformed UTF-8 for the character that stands for it", async () => {
    const { keystore, record, path, bytes } = await prepare();
    const at = bytes.indexOf("\ufffd");
    for (const malformed of [[0xf0, 0xbf, 0xbd], [0xff]]) {
      writeFileSync(
        path,
        Buffer.concat([bytes.subarray(0, at), Buffer.from(malformed), bytes.subarray(at + 3)]),
      );
      await expect(keystore.fetch(keyUuidOf(record))).rejects.toMatchObject(corrupt);
    }
  });

  it.each([
    ["state", { state: "active" }],
    ["volume", { volume: "/srv/vm/other.img" }],
    ["guest", { guest: { id: "2", name: "other" } }],
    ["an additional attribute", { trusted: true }],
  ])("notices that somebody edited %s", async (_, change) => {
    const { keystore, record, path, bytes } = await prepare();
    const stored = JSON.parse(bytes.toString()) as { record: object };
    writeFileSync(path, JSON.stringify({ ...stored, record: { ...stored.record, ...change } }));
    await expect(keystore.fetch(keyUuidOf(record))).rejects.toMatchObject(corrupt);
  });

  it("notices a record under another record's name, also when the UUID inside was edited", async () => {
    const { directory, keystore, record, path, bytes } = await prepare();
    const other = newKeyUuid();
    copyFileSync(path, recordPath(directory, { uuid: other }));
    await expect(keystore.fetch(other)).rejects.toMatchObject(corrupt);
    writeFileSync(recordPath(directory, { uuid: other }), bytes.toString().replace(record.uuid, other));
    await expect(keystore.fetch(other)).rejects.toMatchObject(corrupt);
  });

  it("notices passphrases that were swapped between records", async () => {
    const { directory, keystore, record, path, bytes } = await prepare();
    const second = sampleRecord();
    await storeText(keystore, second, "second");
    const secondPath = recordPath(directory, second);
    const [a, b] = [bytes.toString(), readFileSync(secondPath, "utf8")].map(
      (text) => JSON.parse(text) as object,
    );
    writeFileSync(path, JSON.stringify({ ...b, record }));
    writeFileSync(secondPath, JSON.stringify({ ...a, record: second }));
    for (const { uuid } of [record, second]) {
      await expect(keystore.fetch(keyUuidOf({ ...record, uuid }))).rejects.toMatchObject(corrupt);
    }
  });

  it("opens a record whose JSON was only laid out anew", async () => {
    const { keystore, record, path, bytes } = await prepare();
    const stored = JSON.parse(bytes.toString()) as Record<string, unknown>;
    const reversed = Object.fromEntries(Object.entries(stored).reverse());
    writeFileSync(path, `${JSON.stringify(reversed, undefined, 4)}\n\n`);
    expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("passphrase"));
  });

  it("names the file, and keeps serving the other keys", async () => {
    const { keystore, record, path } = await prepare();
    const healthy = sampleRecord();
    await storeText(keystore, healthy, "healthy");
    writeFileSync(path, "{");
    await expect(keystore.fetch(keyUuidOf(record))).rejects.toMatchObject({
      ...corrupt,
      why: expect.stringContaining(path) as string,
    });
    expect(await passphraseIn(keystore, healthy)).toEqual(Buffer.from("healthy"));
  });

  it("does not list, find, update, overwrite or pass over a damaged record in silence", async () => {
    const { keystore, record, path } = await prepare();
    await storeText(keystore, sampleRecord(), "healthy");
    writeFileSync(path, "{");
    await expect(keystore.list()).rejects.toMatchObject(corrupt);
    await expect(keystore.find({ guestId: "somebody" })).rejects.toMatchObject(corrupt);
    await expect(keystore.test()).rejects.toMatchObject(corrupt);
    await expect(keystore.update(record)).rejects.toMatchObject(corrupt);
    await expect(storeText(keystore, record, "new")).rejects.toMatchObject({ code: "KEY_EXISTS" });
    await storeText(keystore, sampleRecord(), "another");
    expect(readFileSync(path, "utf8")).toBe("{");
  });
});
