import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatBytes, parseBytes } from "../../src/plan/bytes.js";

describe("sizes for a person", () => {
  it.each([
    [0, "0 B"],
    [1023, "1023 B"],
    [1024, "1 KiB"],
    [1536n, "1536 B"],
    [20 * 1024 ** 3 - 2 * 1024 ** 2, "20478 MiB"],
    [1024 ** 4, "1 TiB"],
    [5 * 1024 ** 6, "5120 PiB"],
  ])("%s bytes are %s", (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });
});

describe("sizes of a person", () => {
  it.each([
    ["1", 1n],
    ["512B", 512n],
    ["10k", 10_240n],
    ["10K", 10_240n],
    ["20478MiB", 20_478n * 1024n ** 2n],
    ["10g", 10n * 1024n ** 3n],
    ["1T", 1024n ** 4n],
    ["9007199254740991", 2n ** 53n - 1n],
  ])("%s are %i bytes", (text, bytes) => {
    expect(parseBytes(text)).toBe(bytes);
  });

  it.each([
    "",
    "0",
    "0G",
    "-1",
    "+1",
    "1.5G",
    "10GB",
    "10 G",
    "10Gi",
    "1E",
    "0x10",
    "G",
    "１",
    "10G\n",
    "8P",
  ])("%j is none", (text) => {
    expect(parseBytes(text)).toBeUndefined();
  });

  it("are read as they are written, but for the space", () => {
    const sizes = fc.bigInt({ min: 1n, max: 2n ** 53n - 1n });
    const shift = fc.integer({ min: 0, max: 5 });
    fc.assert(
      fc.property(sizes, shift, (size, power) => {
        const round = (size >> (10n * BigInt(power))) << (10n * BigInt(power));
        fc.pre(round > 0n);
        expect(parseBytes(formatBytes(round).replace(" ", ""))).toBe(round);
      }),
    );
  });
});
