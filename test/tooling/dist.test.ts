import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EVENTS } from "../../src/host/host-adapter.js";
import { readJson } from "./project-files.js";

const { files, version } = readJson("package.json") as { files: string[]; version: string };
let directory: string;

/** What an administrator gets: the package's files alone, with no node_modules in any folder above. */
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "luksmith-test-"));
  const rolldown = ["node_modules/rolldown/bin/cli.mjs", "--config", ".config/rolldown.config.mjs"];
  const build = node([...rolldown, "--log-level", "warn", "--dir", join(directory, "dist")], process.cwd());
  expect(build).toMatchObject({ status: 0, stderr: "" });
  for (const file of files.filter((file) => file !== "dist")) {
    cpSync(file, join(directory, file), { recursive: true });
  }
});
afterAll(() => rmSync(directory, { recursive: true }));

function node(args: readonly string[], cwd = directory) {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd, encoding: "utf8", input: "" });
  return { status, stdout, stderr };
}

describe("dist without node_modules", () => {
  test("loads every chunk, also those that are loaded lazily", () => {
    const chunks = readdirSync(join(directory, "dist/chunks")).map((name) => `./dist/chunks/${name}`);
    const script = `for (const chunk of ${JSON.stringify(chunks)}) await import(chunk);`;

    expect(chunks).not.toEqual([]);
    expect(node(["--input-type=module", "--eval", script])).toEqual({ status: 0, stdout: "", stderr: "" });
  });

  test.each(EVENTS)(
    "makes the %s hook load no cache and no keystore that the settings do not name",
    (event) => {
      const chunks = readdirSync(join(directory, "dist/chunks"));
      const lazy = chunks.filter((name) => /^(file-key-cache|(barbican|kmip|vault)-keystore)-/.test(name));
      const loaded = loadedBy(join(directory, "dist/hooks", `${event}.js`));

      expect(lazy).toHaveLength(4);
      expect(loaded.size).toBeGreaterThan(1);
      expect([...loaded].filter((path) => lazy.some((name) => path.endsWith(name)))).toEqual([]);
      // whose name no chunk has for the code of another
      for (const path of loaded) expect(readFileSync(path, "utf8")).not.toMatch(/class FileKeyCache\b/);
    },
  );

  test("runs the command line", () => {
    const { status, stdout } = node(["dist/cli/luksmith.js", "version"]);

    expect({ status, stdout }).toEqual({ status: 0, stdout: expect.stringContaining(version) as string });
  });

  test.each(EVENTS)("runs the %s hook as far as its own refusal", (event) => {
    const { status, stdout, stderr } = node([`dist/hooks/${event}.js`]);

    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    expect(stderr).toMatch(/^error: cannot serve host manager/);
  });
});

/** The module and all that it imports, and that these import, before any of them runs. */
function loadedBy(path: string, found = new Set<string>()): ReadonlySet<string> {
  if (found.has(path)) return found;
  found.add(path);
  for (const [, imported = ""] of readFileSync(path, "utf8").matchAll(
    /\b(?:from|import)\s*["'](\.[^"']+)["']/g,
  ))
    loadedBy(join(dirname(path), imported), found);
  return found;
}
