import { describe, expect, it } from "vitest";
import { compareVersions } from "../../src/encryption/versions.js";

describe("compareVersions", () => {
  it.each([
    ["2.6", "2.6.0"],
    ["7.2.22", "7.2.22 (Debian 1:7.2+dfsg-7)"],
    ["2.6.0-rc1", "2.6.0"],
    ["", "0"],
  ])("calls %j and %j equal", (a, b) => {
    expect(compareVersions(a, b)).toBe(0);
  });

  it.each([
    ["2.5.1", "2.6"],
    ["2.6", "10.0"],
    ["9.0.0", "9.0.1"],
    ["9", "9.0.1"],
    ["unknown", "0.1"],
  ])("calls %j older than %j", (a, b) => {
    expect(compareVersions(a, b)).toBeLessThan(0);
    expect(compareVersions(b, a)).toBeGreaterThan(0);
  });
});
