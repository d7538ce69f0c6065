import { describe, expect, it } from "vitest";
import { secretNameOf } from "../../../src/keystore/barbican/secret-name.js";
import { sampleRecord } from "../sample-key.js";

const nameOf = (name: string, disk = "vda") => secretNameOf(sampleRecord({ guest: { id: "1", name }, disk }));

describe("a secret's name", () => {
  it.each([
    ["web1", "luksmith web1 vda"],
    ["Gästin ключ 名前", "luksmith Gästin ключ 名前 vda"],
    ["key 🔑", "luksmith key \ufffd vda"],
    ["a\u0000b\nc\u202ed\ud800", "luksmith a\ufffdb\ufffdc\ufffdd\ufffd vda"],
    ["x".repeat(242), `luksmith ${"x".repeat(242)} vda`],
    ["x".repeat(243), `luksmith ${"x".repeat(241)}… vda`],
  ])("is of guest and disk: %j", (guest, expected) => {
    expect(nameOf(guest)).toBe(expected);
    expect(expected.length).toBeLessThanOrEqual(255);
  });

  it("stays within its length when the disk's name does not", () => {
    expect(nameOf("web1", "y".repeat(400)).length).toBe(255);
  });
});
