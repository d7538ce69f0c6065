import { describe, expect, it } from "vitest";
import { withCache } from "../../../src/keystore/cache/with-cache.js";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import { Secret } from "../../../src/secret/secret.js";
import { activeRecord } from "./cache-world.js";

describe("what keystores say of a key that moves", () => {
  it("is no refusal of the one that has it when it is asked again", async () => {
    const record = activeRecord();
    using passphrase = Secret.randomPassphrase();
    const said: string[] = [];
    const cache = {
      gaveOut: (keystore: string) => Promise.resolve(void said.push(`${keystore} gave it out`)),
      refused: (keystores: readonly string[]) =>
        Promise.resolve(void said.push(`${keystores.join()} refused`)),
      lookUp: () => Promise.resolve(undefined),
      settled: () => Promise.resolve(),
    };
    const unknown = { kind: "unknown" } as const;
    const found = { kind: "found", keystore: { name: "to" }, key: { record, passphrase } } as const;
    const answers = [
      { from: "to", location: unknown },
      { from: "from", location: unknown },
      { from: "to", location: found },
      { from: "from", location: unknown },
    ];
    expect(await withCache(cache, keyUuidOf(record), answers, found)).toBe(found);
    expect(said).toEqual(["from,from refused", "to gave it out"]);
  });
});
