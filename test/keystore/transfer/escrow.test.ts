import fc from "fast-check";
import { Ajv } from "ajv";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { type EscrowKey, readEscrow, writeEscrow } from "../../../src/keystore/transfer/escrow.js";
import { Secret } from "../../../src/secret/secret.js";
import { sampleRecord } from "../sample-key.js";

const NOW = new Date("2026-09-01T10:00:00Z");

const keyOf = (bytes: Uint8Array, change = {}): EscrowKey => ({
  keystore: "local",
  record: sampleRecord(change),
  passphrase: Secret.own(Buffer.from(bytes)),
});

const textOf = (keys: readonly EscrowKey[]) => {
  using plaintext = writeEscrow(keys, NOW);
  return plaintext.use((bytes) => bytes.toString("utf8"));
};

function read(text: string | Buffer): EscrowKey[] {
  using plaintext = Secret.own(Buffer.from(text));
  return readEscrow(plaintext);
}

const bytesOf = ({ passphrase }: EscrowKey) => passphrase.use((bytes) => Buffer.from(bytes));

function parsed(text: string): { keys: Record<string, unknown>[] } & Record<string, unknown> {
  return JSON.parse(text) as never;
}

describe("the plaintext of an escrow file", () => {
  it("is what its schema says, one key a line", () => {
    const ajv = new Ajv();
    ajv.addSchema(JSON.parse(readFileSync("schemas/key-record.schema.json", "utf8")) as object);
    const validate = ajv.compile(
      JSON.parse(readFileSync("schemas/key-escrow.schema.json", "utf8")) as object,
    );
    const text = textOf([keyOf(Buffer.from("one")), keyOf(Buffer.from([0xff]))]);
    expect(validate(JSON.parse(text)), JSON.stringify(validate.errors)).toBe(true);
    expect(text.split("\n").filter((line) => line.includes('"uuid"'))).toHaveLength(2);
    expect(parsed(text)).toMatchObject({
      format: "luksmith-key-escrow",
      version: 1,
      createdAt: NOW.toISOString(),
    });
  });

  it.each<[what: string, bytes: Buffer, member: "passphrase" | "passphraseBase64", value: string]>([
    ["text", Buffer.from("correct horse"), "passphrase", "correct horse"],
    ["quotes and backslashes", Buffer.from('"\\"\\\\u0041"'), "passphrase", '"\\"\\\\u0041"'],
    ["other alphabets", Buffer.from("pässphräse ключ 🔑 \u2028"), "passphrase", "pässphräse ключ 🔑 \u2028"],
    ["a byte order mark", Buffer.from("\ufeffx"), "passphrase", "\ufeffx"],
    ["a newline at its end", Buffer.from("x\n"), "passphraseBase64", "eAo="],
    ["a zero byte", Buffer.from("\0"), "passphraseBase64", "AA=="],
    ["bytes that are no UTF-8", Buffer.from([0xc0, 0x80, 0xff]), "passphraseBase64", "wID/"],
  ])("has a passphrase of %s exactly", (_, bytes, member, value) => {
    const text = textOf([keyOf(bytes)]);
    expect(parsed(text).keys[0]).toMatchObject({ [member]: value });
    expect(bytesOf(read(text)[0]!)).toEqual(bytes);
  });

  it("gives back any passphrase and any names", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 200 }),
        fc.string({ unit: "binary" }),
        (bytes, name) => {
          const key = keyOf(bytes, { guest: { id: "1", name }, volume: name });
          const [back] = read(textOf([key]));
          expect(back!.record).toEqual(key.record);
          expect(bytesOf(back!)).toEqual(Buffer.from(bytes));
        },
      ),
    );
  });

  it("has no key twice", () => {
    const key = keyOf(Buffer.from("x"));
    expect(() => read(textOf([key, key]))).toThrow(
      expect.objectContaining({ code: "ESCROW_INVALID" }) as Error,
    );
  });

  it("may have very many keys", () => {
    const text = textOf(Array.from({ length: 40_000 }, () => keyOf(Buffer.from("x"))));
    expect(read(text)).toHaveLength(40_000);
  });

  it.each<[what: string, change: (text: string) => string | Buffer]>([
    ["nothing", () => ""],
    ["no JSON", (text) => text.slice(0, -4)],
    ["no UTF-8", (text) => Buffer.concat([Buffer.from(text), Buffer.from([0xff])])],
    ["another JSON", () => '{"version":1,"keys":[]}'],
    ["a key without a passphrase", (text) => text.replace('"passphrase":"tell nobody"', '"x":1')],
    ["an empty passphrase", (text) => text.replace('"tell nobody"', '""')],
    ["two passphrases", (text) => text.replace('"passphrase"', '"passphraseBase64":"AA==","passphrase"')],
    [
      "base64 that is none",
      (text) => text.replace('"passphrase":"tell nobody"', '"passphraseBase64":"AA=A"'),
    ],
    ["a UUID that is a path", (text) => text.replace(/"uuid":"[^"]+"/, '"uuid":"../../etc/passwd"')],
    ["a member that it does not know", (text) => text.replace('"keys"', '"more":1,"keys"')],
  ])("is refused with %s, which is not quoted", (_, change) => {
    const text = change(textOf([keyOf(Buffer.from("tell nobody"))]));
    let thrown: unknown;
    try {
      read(text);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ code: "ESCROW_INVALID" });
    expect(JSON.stringify(thrown, ["message", "why", "hint", "stack"])).not.toContain("tell nobody");
  });

  it("says that a newer version is one", () => {
    const newer = textOf([]).replace('"version":1', '"version":2');
    expect(() => read(newer)).toThrow(
      expect.objectContaining({ why: expect.stringContaining("version 2") as string }) as Error,
    );
  });
});
