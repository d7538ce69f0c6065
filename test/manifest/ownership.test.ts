import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { changeableByOthers } from "../../src/manifest/ownership.js";

let root: string;
const node = "/bin/sh";

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "luksmith-ownership-"));
  for (const folder of ["hooks", "chunks", "cli"]) mkdirSync(join(root, "dist", folder), { recursive: true });
  writeFileSync(join(root, "plugin.json"), "{}");
});
afterEach(() => rmSync(root, { recursive: true }));

it("is content with files that only root can change, in a temporary directory too", () => {
  expect(changeableByOthers(root, node)).toBeUndefined();
});

it.each(["", "dist", "dist/hooks", "plugin.json"])("names what belongs to somebody else: %s", (path) => {
  chownSync(join(root, path), 65534, 65534);
  expect(changeableByOthers(root, node)).toBe(join(root, path));
});

it.each([0o775, 0o757])("names what others may write: mode %o", (mode) => {
  chmodSync(join(root, "dist/chunks"), mode);
  expect(changeableByOthers(root, node)).toBe(join(root, "dist/chunks"));
});

it("looks at Node as well", () => {
  chownSync(root, 65534, 65534);
  const evil = join(root, "node");
  writeFileSync(evil, "", { mode: 0o755 });
  expect(changeableByOthers(root, evil)).toBe(root);
});
