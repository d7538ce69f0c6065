import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { EVENTS } from "../../src/host/host-adapter.js";
import { KNOWN_HOSTS } from "../../src/host/index.js";
import { KEYSTORE_TYPES } from "../../src/keystore/index.js";
import { loadManifest } from "../../src/manifest/load.js";
import { BACKEND_TYPES } from "../../src/storage/index.js";
import { readJson } from "./project-files.js";

const manifest = loadManifest("plugin.json");

test("plugin.json and package.json have one name and version", () => {
  expect(readJson("package.json")).toMatchObject({ name: manifest.id, version: manifest.version });
});

test("plugin.json lists the storage backends, keystores and host managers that are registered", () => {
  expect([...manifest.backends].sort()).toEqual([...BACKEND_TYPES].sort());
  expect([...manifest.keystores].sort()).toEqual([...KEYSTORE_TYPES].sort());
  expect([...manifest.hosts].sort()).toEqual([...KNOWN_HOSTS].sort());
});

test("plugin.json names an entry point that exists for each lifecycle event", () => {
  expect(Object.keys(manifest.hooks).sort()).toEqual([...EVENTS].sort());
  for (const [event, module] of Object.entries(manifest.hooks)) {
    expect(module).toBe(`dist/hooks/${event}.js`);
    expect(existsSync(`hooks/${event}.ts`), event).toBe(true);
  }
  expect(existsSync(manifest.settings.schema)).toBe(true);
});
