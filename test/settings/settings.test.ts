import { describe, expect, it } from "vitest";
import { parseSettings } from "../../src/settings/load.js";
import { profileNamed } from "../../src/settings/settings.js";

const settings = parseSettings(
  JSON.stringify({ version: 1, profiles: [{ name: "default" }, { name: "strong", hash: "sha512" }] }),
  "test",
);

describe("profiles by name", () => {
  it("are found", () => {
    expect(profileNamed(settings, "strong")).toMatchObject({
      name: "strong",
      hash: "sha512",
      keystore: "local",
    });
  });

  it("that are unknown are refused, naming the known", () => {
    expect(() => profileNamed(settings, "stronger")).toThrow(
      expect.objectContaining({
        code: "PROFILE_UNKNOWN",
        hint: expect.stringContaining("default, strong") as string,
      }),
    );
  });
});
