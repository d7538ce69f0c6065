import { describe, expect, it } from "vitest";
import { createKeyring, KEYSTORE_TYPES, type KeystoreSettings } from "../../src/keystore/index.js";
import manifest from "../../plugin.json" with { type: "json" };
import schema from "../../schemas/settings.schema.json" with { type: "json" };
import { temporaryDirectory } from "../fs/tree.js";
import { sampleRecord, storeText } from "./sample-key.js";

describe("keystore types", () => {
  it("are those of the settings' schema and of the manifest", () => {
    const { oneOf } = schema.properties.keystores.items;
    expect(oneOf).toEqual(KEYSTORE_TYPES.map((type) => ({ $ref: `keystore-${type}.schema.json` })));
    expect(manifest.keystores).toEqual(KEYSTORE_TYPES);
  });

  it("are made from the settings", async () => {
    const keystores: KeystoreSettings[] = ["a", "b"].map((name) => ({
      name,
      type: "file",
      directory: temporaryDirectory(),
    }));
    const keyring = createKeyring({ keystores });
    const record = sampleRecord();
    await storeText(keyring.get("b"), record, "passphrase");
    expect(await keyring.get("a").find({})).toEqual([]);
    expect(await keyring.get("b").find({})).toEqual([record]);
    expect(keyring.all().map(({ name, type }) => `${name} ${type}`)).toEqual(["a file", "b file"]);
  });

  it.each(["vault", "constructor", "__proto__"])(
    "named %s are unknown, and the known ones are named",
    (type) => {
      const settings = JSON.parse(`{"name":"x","type":"${type}","directory":"/"}`) as KeystoreSettings;
      expect(() => createKeyring({ keystores: [settings] }).get("x")).toThrow(
        expect.objectContaining({
          code: "KEYSTORE_UNKNOWN",
          hint: expect.stringContaining("file") as string,
        }),
      );
    },
  );
});
