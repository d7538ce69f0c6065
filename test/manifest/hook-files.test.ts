import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { unusableHook } from "../../src/manifest/hook-files.js";

const hooks = {
  "pre-start": "dist/hooks/pre-start.js",
  "post-stop": "dist/hooks/post-stop.js",
  "pre-migrate": "dist/hooks/pre-migrate.js",
} as const;
let root: string;
const look = () => unusableHook({ hooks }, root);
const write = (path: string, text: string) => writeFileSync(join(root, path), text);

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "luksmith-hooks-"));
  for (const folder of ["hooks", "chunks"]) mkdirSync(join(root, "dist", folder), { recursive: true });
  for (const path of Object.values(hooks)) write(path, 'import{t}from"../chunks/main-a.js";await t();');
  write("dist/chunks/main-a.js", "export const t=1;");
});
afterEach(() => rmSync(root, { recursive: true }));

it("is content with hooks whose parts are there", () => expect(look()).toBeUndefined());

it.each([
  ["is empty", "\n", "is empty"],
  ["is something else", "process.exit(0);", "is not a hook"],
  ["is of another version", 'import{t}from"../chunks/main-b.js";', "another version"],
])("names a hook that %s", (_, text, why) => {
  write(hooks["pre-migrate"], text);
  expect(look()).toEqual({
    path: join(root, hooks["pre-migrate"]),
    why: expect.stringContaining(why) as string,
  });
});

it("names a hook that is gone, or whose part is empty", () => {
  rmSync(join(root, hooks["post-stop"]));
  expect(look()).toMatchObject({ path: join(root, hooks["post-stop"]), why: "cannot be read" });
  write(hooks["post-stop"], 'import "x"; import{t}from"../chunks/main-a.js"');
  write("dist/chunks/main-a.js", "");
  expect(look()).toMatchObject({ path: join(root, hooks["pre-start"]) });
});
