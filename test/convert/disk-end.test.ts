import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { nativeEnd } from "../../src/convert/disk-end.js";
import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import { Secret } from "../../src/secret/secret.js";
import type { StorageBackend } from "../../src/storage/storage-backend.js";

const MIB = 1024 * 1024;

let directory: string;
beforeEach(() => {
  // /tmp may lie in memory, which the kernel cannot forget
  directory = mkdtempSync("/var/tmp/luksmith-test-");
});
afterEach(() => rmSync(directory, { recursive: true }));

/** Bytes of a file that the kernel has in memory. */
function cached(path: string): number {
  const args = ["--bytes", "--noheadings", "--output", "RES", path];
  return Number(execFileSync("fincore", args, { encoding: "utf8" }));
}

test("what is read of a file that was settled comes from its storage", async () => {
  const path = join(directory, "disk.img");
  writeFileSync(path, randomBytes(MIB));
  readFileSync(path);
  expect(cached(path)).toBe(MIB);
  using passphrase = Secret.randomPassphrase();
  const volume = { kind: "file", path, format: "raw" } as const;
  const native = { volume, backend: {} as StorageBackend, size: BigInt(MIB), passphrase };
  await using end = await nativeEnd(native, new ExecaCommandRunner());
  await end.settle();

  expect(cached(path)).toBe(0);
});
