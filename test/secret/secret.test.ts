import { format, inspect } from "node:util";
import { serialize } from "node:v8";
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { redact, Secret } from "../../src/secret/secret.js";

const TEXT = "correct horse battery staple";
const open: Secret[] = [];

function secretOf(text: string | Buffer): Secret {
  const secret = Secret.own(Buffer.from(text));
  open.push(secret);
  return secret;
}

function textOf(secret: Secret): string {
  return secret.use((bytes) => bytes.toString("utf8"));
}

afterEach(() => {
  for (const secret of open.splice(0)) secret.dispose();
});

describe("a secret", () => {
  test.each<[string, (secret: Secret) => string]>([
    ["String()", (s) => String(s)],
    ["a concatenation", (s) => ["", s, ""].join("")],
    ["JSON", (s) => JSON.stringify({ s })],
    ["inspect", (s) => inspect({ s }, { depth: 9, showHidden: true })],
    ["inspect without custom printers", (s) => inspect(s, { customInspect: false, showHidden: true })],
    ["%s", (s) => format("%s", s)],
    ["%o", (s) => format("%o", s)],
    ["%j", (s) => format("%j", s)],
    ["an error's cause", (s) => inspect(new Error("x", { cause: s }))],
    ["its own properties", (s) => inspect(Object.assign({}, s))],
    ["a structured clone", (s) => inspect(structuredClone<unknown>(s))],
    ["V8's serializer", (s) => serialize(s).toString("latin1")],
  ])("does not show in %s", (_, print) => {
    const printed = print(secretOf(TEXT));

    expect(printed).not.toContain(TEXT);
    expect(printed).not.toContain(Buffer.from(TEXT).toString("hex"));
    // the way inspect prints a Buffer
    expect(printed).not.toContain("63 6f 72 72");
  });

  test("prints as [redacted]", () => {
    const secret = secretOf(TEXT);

    expect([String(secret), JSON.stringify(secret), inspect(secret)]).toEqual([
      "[redacted]",
      '"[redacted]"',
      "[redacted]",
    ]);
  });

  test("is zero-filled when it is disposed of", () => {
    const bytes = Buffer.from(TEXT);
    Secret.own(bytes).dispose();

    expect(bytes).toEqual(Buffer.alloc(TEXT.length));
  });

  test("is zero-filled at the end of a using block, also when it throws", () => {
    const bytes = Buffer.from(TEXT);
    const block = () => {
      using secret = Secret.own(bytes);
      throw new Error(`${secret.length}`);
    };

    expect(block).toThrow(`${TEXT.length}`);
    expect(bytes).toEqual(Buffer.alloc(TEXT.length));
  });

  test.each<[string, (secret: Secret) => unknown]>([
    ["use", (s) => s.use((bytes) => bytes.length)],
    ["equals", (s) => s.equals(s)],
    ["equals of another", (s) => secretOf(TEXT).equals(s)],
  ])("refuses %s after it was disposed of, so that nobody locks a disk with zeros", (_, act) => {
    const secret = secretOf(TEXT);
    secret.dispose();

    expect(() => act(secret)).toThrow("disposed");
  });

  test("can be disposed of twice", () => {
    const secret = secretOf(TEXT);
    secret.dispose();

    expect(() => secret.dispose()).not.toThrow();
  });

  test("equals another with the same bytes only", () => {
    expect(secretOf(TEXT).equals(secretOf(TEXT))).toBe(true);
    expect(secretOf(TEXT).equals(secretOf(`${TEXT}.`))).toBe(false);
    expect(secretOf(TEXT).equals(secretOf(""))).toBe(false);
  });
});

describe("a random passphrase", () => {
  test("is 64 bytes as base64 text, without a newline", () => {
    const passphrase = Secret.randomPassphrase();
    open.push(passphrase);

    expect(passphrase.length).toBe(88);
    expect(textOf(passphrase)).toMatch(/^[A-Za-z0-9+/]{86}==$/);
    expect(Buffer.from(textOf(passphrase), "base64")).toHaveLength(64);
  });

  test("is another one each time", () => {
    const texts = Array.from({ length: 50 }, () => {
      const passphrase = Secret.randomPassphrase();
      open.push(passphrase);
      return textOf(passphrase);
    });

    expect(new Set(texts).size).toBe(50);
  });
});

describe("redact", () => {
  test("replaces every occurrence of every live secret", () => {
    secretOf(TEXT);
    secretOf("pass phräse");

    expect(redact(`a ${TEXT} b pass phräse c ${TEXT}${TEXT}`)).toBe(
      "a [redacted] b [redacted] c [redacted][redacted]",
    );
  });

  test("leaves nothing of a secret that holds another one", () => {
    secretOf("horse battery");
    secretOf(TEXT);

    expect(redact(`<${TEXT}>`)).toBe("<[redacted]>");
  });

  test("returns other text as it is, also what is no valid Unicode", () => {
    secretOf(TEXT);

    expect(redact("a \ud800 b")).toBe("a \ud800 b");
    expect(redact("")).toBe("");
  });

  test("leaves what is too short to be told from chance", () => {
    secretOf("1234567");
    secretOf("");

    expect(redact("disk 1234567")).toBe("disk 1234567");
  });

  test("does not remember a secret that was disposed of", () => {
    secretOf(TEXT).dispose();

    expect(redact(TEXT)).toBe(TEXT);
  });

  test("never leaves a secret in any text around it", () => {
    const secretText = fc.string({ minLength: 8, maxLength: 20, unit: "grapheme" });
    fc.assert(
      fc.property(secretText, fc.string(), fc.string(), (text, before, after) => {
        const secret = Secret.own(Buffer.from(text));
        const clean = redact(before + text + after);
        secret.dispose();
        expect(clean.replaceAll("[redacted]", "\0")).not.toContain(text);
      }),
    );
  });
});
