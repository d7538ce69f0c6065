import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { loadManifest, PLUGIN_ROOT } from "../../src/manifest/load.js";

const dir = mkdtempSync(join(tmpdir(), "luksmith-manifest-"));
afterAll(() => rmSync(dir, { recursive: true }));

const own = JSON.parse(readFileSync(join(PLUGIN_ROOT, "plugin.json"), "utf8")) as Record<string, unknown>;

function load(manifest: unknown): unknown {
  const path = join(dir, "plugin.json");
  writeFileSync(path, typeof manifest === "string" ? manifest : JSON.stringify(manifest));
  return loadManifest(path);
}

const code = (expected: string) => expect.objectContaining({ code: expected }) as Error;

it("accepts our own plugin.json", () => {
  expect(loadManifest().id).toBe("luksmith");
});

it("registers an entry point for each lifecycle event", () => {
  expect(Object.keys(loadManifest().hooks)).toEqual(["pre-start", "post-stop", "pre-migrate"]);
});

it("refuses an apiVersion that it does not know and names those that it does", () => {
  expect(() => load({ ...own, apiVersion: 2 })).toThrow(
    expect.objectContaining({
      code: "MANIFEST_API_VERSION",
      why: expect.stringContaining("1") as string,
    }) as Error,
  );
});

it.each([
  ["that is not JSON", "{"],
  ["that is no object", "null"],
  ["without hooks", { ...own, hooks: undefined }],
  ["with an unknown field", { ...own, extra: 1 }],
  [
    "with a hook outside of dist",
    { ...own, hooks: { ...(own["hooks"] as object), "pre-start": "/tmp/evil.js" } },
  ],
])("refuses a manifest %s", (_, manifest) => {
  expect(() => load(manifest)).toThrow(code("MANIFEST_INVALID"));
});

it("refuses a manifest that is not there", () => {
  expect(() => loadManifest(join(dir, "missing.json"))).toThrow(code("MANIFEST_INVALID"));
});
