import { join } from "node:path";
import { expect, it } from "vitest";
import { warningsOfDropped } from "../../src/cli/dropped-keystores.js";
import { FileKeystore } from "../../src/keystore/file/file-keystore.js";
import { parseSettings } from "../../src/settings/load.js";
import { temporaryDirectory } from "../fs/tree.js";
import { sampleRecord, storeText } from "../keystore/sample-key.js";

const settings = (...keystores: [name: string, directory: string][]) =>
  parseSettings(
    JSON.stringify({
      version: 1,
      keystores: keystores.map(([name, directory]) => ({ name, type: "file", directory })),
    }),
    "the test",
  );

it("tells how many keys a keystore has that new settings leave out, and is silent where none is lost", async () => {
  const root = temporaryDirectory();
  const [old, empty] = [join(root, "old"), join(root, "empty")];
  const before = settings(["local", old], ["empty", empty]);
  const keystore = new FileKeystore({ name: "local", type: "file", directory: old });
  for (const disk of ["a", "b"]) await storeText(keystore, sampleRecord({ disk }), "x");
  expect(warningsOfDropped(before, settings(["new", empty]))).toEqual([
    expect.stringContaining("keystore local (" + old + ") has 2 keys"),
  ]);
  expect(warningsOfDropped(before, settings(["new", join(root, "new")], ["renamed", old]))).toEqual([]);
  expect(warningsOfDropped(before, before)).toEqual([]);
});
