import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { GROUPS, UNIT } from "../lab/groups.js";
import { projectFiles } from "./project-files.js";

const files = projectFiles();

test("every test file belongs to a known group, so that none is forgotten", () => {
  const groups = files.flatMap((path) => /\.([^./]+)\.test\.ts$/.exec(path)?.[1] ?? []);
  const known = GROUPS.map(({ name }) => name);

  expect(groups.filter((name) => !known.includes(name))).toEqual([]);
  expect(known.filter((name) => !groups.includes(name))).toEqual([]);
});

test("groups have distinct names, and a line for people each", () => {
  const names = [UNIT, ...GROUPS].map(({ name }) => name);

  expect(new Set(names).size).toBe(names.length);
  for (const { description } of GROUPS) expect(description).toMatch(/^\S[^\n]{10,}$/);
});

test("no file contains the path of the checkout that it was written in", () => {
  const here = new RegExp(`(?<![\\w.~/-])${process.cwd().replaceAll(/[^\w/]/g, "\\$&")}(?![\\w-])`);

  expect(files.filter((path) => here.test(readFileSync(path, "latin1")))).toEqual([]);
});
