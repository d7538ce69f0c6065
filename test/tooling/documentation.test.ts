import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { CATALOGUE } from "../../src/error/catalogue.js";
import { projectFiles } from "./project-files.js";

const pages = projectFiles().filter((path) => path.endsWith(".md"));

test("docs/errors.md has a heading for each error code, and no other", () => {
  const headings = readFileSync("docs/errors.md", "utf8").matchAll(
    /^#+ +`?([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)`?$/gm,
  );
  const documented = [...headings].map(([, code]) => code);

  expect(documented.sort()).toEqual(Object.keys(CATALOGUE).sort());
});

test("README names the commands that a newcomer needs", () => {
  const readme = readFileSync("README.md", "utf8");

  expect(readme).toContain("npm run demo");
  expect(readme).toContain("npm run check");
});

describe.each(pages)("%s", (page) => {
  const text = readFileSync(page, "utf8");

  test("links only to files that exist", () => {
    const targets = [...text.matchAll(/\]\((?![a-z]+:|#)([^)#\s]+)/g)].map(([, target]) => target!);

    expect(targets.filter((target) => !existsSync(join(dirname(page), target)))).toEqual([]);
  });

  test("names only npm scripts that exist", () => {
    const { scripts } = JSON.parse(readFileSync("package.json", "utf8")) as {
      scripts: Record<string, string>;
    };
    const named = [...text.matchAll(/npm run (?:--silent )?([a-z]+)/g)].map(([, script]) => script!);

    expect(named.filter((script) => !(script in scripts))).toEqual([]);
  });
});
