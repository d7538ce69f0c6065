import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  newRecoveryPassphrase,
  parseRecoveryPassphrase,
  printed,
} from "../../../src/keystore/file/recovery-passphrase.js";

function fresh(): string {
  using passphrase = newRecoveryPassphrase();
  return printed(passphrase).toString("latin1");
}

/** What `text` is taken for: the canonical passphrase, or what is wrong with it. */
function read(text: string): string {
  const parsed = parseRecoveryPassphrase(Buffer.from(text));
  if (parsed.kind === "mistyped") return parsed.reason;
  using passphrase = parsed.passphrase;
  return passphrase.use((bytes) => bytes.toString("latin1"));
}

describe("recovery passphrase", () => {
  it("has eight groups of five characters that nobody mistakes, and differs each time", () => {
    const all = Array.from({ length: 50 }, fresh);
    for (const text of all) expect(text).toMatch(/^([0-9A-HJKMNP-TV-Z]{5}-){7}[0-9A-HJKMNP-TV-Z]{5}\n$/);
    expect(new Set(all).size).toBe(50);
    const characters = new Set(all.join("").replace(/[-\n]/g, ""));
    expect(characters.size).toBe(32);
  });

  it("is read in lower case, with spaces or without, and with O, I and L for digits", () => {
    const text = fresh();
    const canonical = text.replace(/[-\n]/g, "");
    expect(read(text)).toBe(canonical);
    expect(read(canonical.toLowerCase())).toBe(canonical);
    expect(read(text.replaceAll("-", " \t"))).toBe(canonical);
    expect(read(text.replaceAll("0", "o").replaceAll("1", "l"))).toBe(canonical);
    expect(read(text.replaceAll("0", "O").replaceAll("1", "I"))).toBe(canonical);
  });

  it("is known to be mistyped, and where, with any one character wrong or two neighbours swapped", () => {
    const text = fresh();
    for (let at = 0; at < text.length - 1; at++) {
      if (text[at] === "-") continue;
      const where = `is mistyped in group ${Math.floor(at / 6) + 1}`;
      for (const other of "0123456789ABCDEFGHJKMNPQRSTVWXYZ") {
        if (other === text[at]) continue;
        expect(read(`${text.slice(0, at)}${other}${text.slice(at + 1)}`)).toBe(where);
      }
      const [a = "", b = ""] = [text[at], text[at + 1]];
      if (/[-\n]/.test(b) || a === b) continue;
      expect(read(`${text.slice(0, at)}${b}${a}${text.slice(at + 2)}`)).toBe(where);
    }
  });

  it("is known to be mistyped with two groups swapped, one left out, one twice", () => {
    const groups = fresh().trim().split("-");
    expect(read([groups[1], groups[0], ...groups.slice(2)].join("-"))).toBe("is mistyped in group 1");
    expect(read(groups.slice(1).join("-"))).toBe("has 40 letters and digits, and not 35");
    expect(read([...groups, groups[0]].join("-"))).toBe("has 40 letters and digits, and not 45");
    expect(read(groups.join("-").replace(/.$/, "!"))).toMatch(/^has a character that none has/);
  });

  it("is read or refused, whatever is typed, which is wiped", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        const typed = Buffer.from(bytes);
        const parsed = parseRecoveryPassphrase(typed);
        if (parsed.kind === "passphrase") parsed.passphrase.dispose();
        expect(typed.every((byte) => byte === 0)).toBe(true);
      }),
    );
  });
});
