import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { projectFiles } from "./project-files.js";

/** How a test file has the one check of what may not be left: after each test, or where it boots hosts of its own. */
const CHECKED =
  /\b(?:hostForThisFile|twoHostsForThisFile)\(\)|"\.\/support\/(?:power-cut|power-cut-life|mapping-host)-machine\.js"/;

test("every test of the whole product ends with the check that nothing is left", () => {
  const files = projectFiles("test/e2e").filter((path) => path.endsWith(".test.ts"));
  expect(files.length).toBeGreaterThan(20);
  expect(files.filter((path) => !CHECKED.test(readFileSync(path, "utf8")))).toEqual([]);
});

test("that check is made after each test of a file, and for a host that lost its power", () => {
  expect(readFileSync("test/e2e/support/each-test.ts", "utf8")).toMatch(
    /afterEach\([^]*await expectNothingLeft\(host\)/,
  );
  expect(readFileSync("test/e2e/support/each-test.ts", "utf8")).toMatch(
    /afterEach\([^]*for \(const host of both\) \{[^]*await expectNothingLeft\(host, both\)/,
  );
  for (const machine of ["power-cut-machine", "power-cut-life-machine"])
    expect(readFileSync(`test/e2e/support/${machine}.ts`, "utf8")).toContain("await leftoversOf(host)");
  for (const path of projectFiles("test/e2e").filter((name) => name.endsWith(".test.ts"))) {
    const text = readFileSync(path, "utf8");
    if (text.includes("mapping-host-machine"))
      expect(text, path).toMatch(/afterEach\([^]*host\.leftovers\(\)/);
  }
});
