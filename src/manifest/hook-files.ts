import { readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { ifThere } from "../fs/if-there.js";
import type { PluginManifest } from "../generated/plugin.js";
import { PLUGIN_ROOT } from "./load.js";

export interface UnusableHook {
  readonly path: string;
  readonly why: string;
}

/**
 * The first of the hooks that is not what was built with the rest: gone, empty, or of another version, whose parts have
 * other names. Says nothing about one that somebody has changed by hand.
 */
export function unusableHook(
  { hooks }: Pick<PluginManifest, "hooks">,
  root = PLUGIN_ROOT,
): UnusableHook | undefined {
  for (const hook of Object.values(hooks)) {
    const path = join(root, hook);
    const why = problemOf(path);
    if (why !== undefined) return { path, why };
  }
  return undefined;
}

function problemOf(path: string): string | undefined {
  const text = ifThere(() => readFileSync(path, "utf8"));
  if (text === undefined) return "cannot be read";
  if (text.trim() === "") return "is empty";
  const parts = [...text.matchAll(/\bfrom\s*["'](\.[^"']+)["']/g)].map(([, part = ""]) => part);
  if (parts.length === 0) return "is not a hook of Luksmith";
  const missing = parts.find(
    (part) => !((ifThere(() => statSync(join(dirname(path), part)))?.size ?? 0) > 0),
  );
  return missing === undefined
    ? undefined
    : `is of another version: its part ${missing} is not there, or empty`;
}
