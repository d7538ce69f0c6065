import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import { keyCacheFor } from "../../../src/keystore/cache/index.js";
import { CACHE_PLACES } from "../../../src/keystore/cache/places.js";
import { temporaryDirectory } from "../../fs/tree.js";
import fileKeystore from "../../../schemas/keystore/keystore-file.schema.json" with { type: "json" };
import schema from "../../../schemas/settings.schema.json" with { type: "json" };
import { settingsWith } from "./cache-world.js";

function cacheFor(cache: "off" | "memory" | "sealed", path: string) {
  return keyCacheFor({
    settings: settingsWith({ cache }),
    places: [{ medium: "sealed", path, base: "/" }],
    manner: "copy",
    runner: new ExecaCommandRunner(),
    warn: () => undefined,
  });
}

describe("the cache that the settings ask for", () => {
  it("is none while all profiles have it off and nothing is left of one", () => {
    expect(cacheFor("off", join(temporaryDirectory(), "cache"))).toBeUndefined();
  });

  it("is there to clear away what is left", () => {
    expect(cacheFor("off", temporaryDirectory())).toBeTypeOf("function");
  });

  it.each(["memory", "sealed"] as const)(
    "is one for a profile that has it %s, and the same each time",
    async (cache) => {
      const make = cacheFor(cache, join(temporaryDirectory(), "cache"))!;
      expect(await make()).toBe(await make());
    },
  );

  it("can be under every protector that a file keystore can be under", () => {
    const { protector } = schema.properties.cache.properties;
    expect(protector.oneOf).toEqual(fileKeystore.properties.protector.oneOf);
  });
});

describe("the places of copies", () => {
  it("in memory are where memory is, and in nobody else's directory", () => {
    expect(CACHE_PLACES.map(({ medium, path, base }) => [medium, path.startsWith(base)])).toEqual([
      ["sealed", true],
      ["memory", true],
      ["memory", true],
    ]);
    // /dev/shm is open to everybody: a directory of somebody else's there could be moved away under us
    const inShm = CACHE_PLACES.find(({ base }) => base === "/dev/shm")!.path;
    expect(inShm.split("/")).toHaveLength(4);
  });
});
