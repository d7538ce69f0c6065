import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type KeyForm, readNovaKey } from "../../src/adopt/nova-key.js";

let directory: string;
let path: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "luksmith-test-"));
  path = join(directory, "key");
});
afterEach(() => rmSync(directory, { recursive: true }));

function read(content: string | Buffer, form: KeyForm): string {
  writeFileSync(path, content, { mode: 0o600 });
  using key = readNovaKey(path, form);
  return key.use((bytes) => bytes.toString());
}

const DIGITS = "00ff10".repeat(22).slice(0, 128);

describe("Nova's key", () => {
  test("is the digits in the file, without a line end", () => {
    expect(read(DIGITS, "hex")).toBe(DIGITS);
    expect(read(`${DIGITS}\n`, "hex")).toBe(DIGITS);
  });

  test("is made of the key manager's bytes as Nova makes it, whatever their last one is", () => {
    const bytes = Buffer.concat([Buffer.alloc(31, 0xa7), Buffer.of(0x0a)]);

    expect(read(bytes, "raw")).toBe(bytes.toString("hex"));
  });

  test.each<[string, string | Buffer, KeyForm]>([
    ["capital digits, which Nova does not write", DIGITS.toUpperCase(), "hex"],
    ["another length", DIGITS.slice(2), "hex"],
    ["two line ends", `${DIGITS}\n\n`, "hex"],
    ["bytes where digits are expected", Buffer.alloc(64, 1), "hex"],
    ["digits where bytes are expected", DIGITS, "raw"],
    ["nothing", "", "raw"],
    ["far too much", "0".repeat(1_000_000), "hex"],
  ])("is not %s", (_, content, form) => {
    expect(() => read(content, form)).toThrow(expect.objectContaining({ code: "USAGE" }));
  });

  test("is for root alone, and no link", () => {
    writeFileSync(path, DIGITS);
    chmodSync(path, 0o640);
    expect(() => readNovaKey(path, "hex")).toThrow(expect.objectContaining({ code: "PERMISSIONS_UNSAFE" }));
    chmodSync(path, 0o600);
    symlinkSync(path, join(directory, "link"));
    expect(() => readNovaKey(join(directory, "link"), "hex")).toThrow(
      expect.objectContaining({ code: "PERMISSIONS_UNSAFE" }),
    );
    expect(() => readNovaKey(join(directory, "none"), "hex")).toThrow(
      expect.objectContaining({ code: "USAGE" }),
    );
  });

  test("is nowhere in what is said about a wrong one", () => {
    const thrown = (() => {
      try {
        return read(DIGITS, "raw");
      } catch (error) {
        return error;
      }
    })();

    expect(JSON.stringify(thrown, Object.getOwnPropertyNames(thrown))).not.toContain("00ff10");
  });
});
