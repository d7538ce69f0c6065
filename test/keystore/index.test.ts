import { describe, expect, it } from "vitest";
import { createKeyring, KEYSTORE_TYPES, type KeystoreSettings } from "../../src/keystore/index.js";
import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import manifest from "../../plugin.json" with { type: "json" };
import schema from "../../schemas/settings.schema.json" with { type: "json" };
import { temporaryDirectory } from "../fs/tree.js";
import { sampleRecord, storeText } from "./sample-key.js";

const RESOURCES = { runner: new ExecaCommandRunner() };

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
      protector: { type: "file" },
    }));
    const keyring = createKeyring({ keystores }, RESOURCES);
    const record = sampleRecord();
    await storeText(await keyring.get("b"), record, "passphrase");
    expect(await (await keyring.get("a")).find({})).toEqual([]);
    expect(await (await keyring.get("b")).find({})).toEqual([record]);
    expect((await keyring.all()).map(({ name, type }) => `${name} ${type}`)).toEqual(["a file", "b file"]);
  });

  it.each(["toy", "constructor", "__proto__"])(
    "named %s are unknown, and the known ones are named",
    async (type) => {
      const settings = JSON.parse(`{"name":"x","type":"${type}","directory":"/"}`) as KeystoreSettings;
      await expect(createKeyring({ keystores: [settings] }, RESOURCES).get("x")).rejects.toEqual(
        expect.objectContaining({
          code: "KEYSTORE_UNKNOWN",
          hint: expect.stringContaining("file") as string,
        }),
      );
    },
  );
});
