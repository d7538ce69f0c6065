import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { FileKeystore } from "../../src/keystore/file/file-keystore.js";
import { sampleRecord, storeText } from "../keystore/sample-key.js";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "luksmith-test-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

test("the program in docs/keystores/file.md prints a passphrase without any part of luksmith", async () => {
  const keystore = join(directory, "keystore");
  const program = join(directory, "passphrase.mjs");
  const [, text] = /```js\n([^]*?)```/.exec(readFileSync("docs/keystores/file.md", "utf8"))!;
  writeFileSync(program, text!);
  const record = sampleRecord({ guest: { id: "1", name: "Gästin 🔑" } });
  await storeText(
    new FileKeystore({ name: "local", type: "file", directory: keystore }),
    record,
    "passphrase",
  );

  const { status, stdout, stderr } = spawnSync(process.execPath, [program, keystore, record.uuid], {
    encoding: "utf8",
  });

  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: "passphrase", stderr: "" });
});
