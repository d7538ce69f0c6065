import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { LuksmithError } from "../error/luksmith-error.js";
import type { PluginManifest } from "../generated/plugin.js";
import validate from "../generated/validate-plugin.cjs";

/** Versions of the manifest's contract that this code keeps. */
const API_VERSIONS: readonly number[] = [1];

/** Where plugin.json, dist/ and schemas/ stand: two folders above this module, in src/ as in dist/. */
export const PLUGIN_ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** plugin.json, checked. @throws MANIFEST_INVALID, MANIFEST_API_VERSION */
export function loadManifest(path = join(PLUGIN_ROOT, "plugin.json")): PluginManifest {
  const manifest = parse(path);
  const apiVersion = apiVersionOf(manifest);
  if (typeof apiVersion === "number" && !API_VERSIONS.includes(apiVersion)) {
    throw new LuksmithError("MANIFEST_API_VERSION", {
      what: `cannot use ${path}: it has apiVersion ${apiVersion}`,
      why: `this luksmith understands apiVersion ${API_VERSIONS.join(", ")}`,
      hint: "plugin.json and dist/ come from different versions: install one version of both",
    });
  }
  if (!isManifest(manifest)) {
    throw new LuksmithError("MANIFEST_INVALID", {
      what: `cannot use ${path}`,
      why: (validate.errors ?? [])
        .map((e) => `${e.instancePath || "/"} ${e.message ?? e.keyword}`)
        .join("; "),
      hint: "install luksmith again",
    });
  }
  return manifest;
}

function parse(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (thrown) {
    throw new LuksmithError("MANIFEST_INVALID", {
      what: `cannot read ${path}`,
      why: thrown instanceof Error ? thrown.message : String(thrown),
      hint: "install luksmith again",
      cause: thrown,
    });
  }
}

function apiVersionOf(manifest: unknown): unknown {
  return typeof manifest === "object" && manifest !== null && "apiVersion" in manifest
    ? manifest.apiVersion
    : undefined;
}

function isManifest(value: unknown): value is PluginManifest {
  return validate(value);
}
