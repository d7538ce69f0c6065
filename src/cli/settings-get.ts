import { Command } from "commander";
import type { SettingsGetOutput } from "../generated/settings-get.js";
import validate from "../generated/validate-settings-get.cjs";
import { readSettings } from "../settings/load.js";
import { secretsDirectoryOf, settingsPath } from "../settings/paths.js";
import { secretsSetIn, storedIn } from "../settings/stored.js";
import { requireRoot } from "./open.js";
import { print, printJson } from "./output.js";

export function getCommand(): Command {
  return new Command("get")
    .summary("print the settings, with all defaults")
    .description("Prints the settings that hold, with every default filled in.")
    .option("--json", "with the path, the digest for settings set, and what the file itself says")
    .action(get);
}

function get({ json }: { json?: true }): void {
  requireRoot();
  const path = settingsPath();
  const { settings, digest, text } = readSettings(path);
  if (!json) {
    print(JSON.stringify(settings, undefined, 2));
    return;
  }
  const stored = storedIn(text);
  const secretsSet = secretsSetIn(stored, secretsDirectoryOf(path));
  printJson(validate, { path, digest, settings, stored, secretsSet } satisfies Output);
}

/** With tuples and lists that nobody changes. */
type Output = Omit<SettingsGetOutput, "settings"> & { readonly settings: object };
