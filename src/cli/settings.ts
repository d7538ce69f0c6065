import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { ExecaCommandRunner } from "../exec/command-runner.js";
import validateGet from "../generated/validate-settings-get.cjs";
import { LuksmithError } from "../error/luksmith-error.js";
import { loadManifest, PLUGIN_ROOT } from "../manifest/load.js";
import { parseSettings, readSettings } from "../settings/load.js";
import { settingsPath } from "../settings/paths.js";
import { saveSettings } from "../settings/save.js";
import type { EffectiveSettings } from "../settings/settings.js";
import { warningsOfDropped } from "./dropped-keystores.js";
import { requireRoot } from "./open.js";
import { print, printJson } from "./output.js";
import { testCommand } from "./settings-test.js";
import { readStandardInput } from "./standard-input.js";

export function settingsCommand(): Command {
  return new Command("settings")
    .summary("read, check and change the settings")
    .description("Reads, checks and changes the settings, which the hooks read at every event.")
    .addCommand(getCommand())
    .addCommand(setCommand())
    .addCommand(testCommand())
    .addCommand(schemaCommand());
}

function getCommand(): Command {
  return new Command("get")
    .summary("print the settings, with all defaults")
    .description("Prints the settings that hold, with every default filled in.")
    .option("--json", "with the path and the digest for settings set")
    .action(({ json }: { json?: true }) => {
      requireRoot();
      const { settings, digest } = readSettings();
      if (json) printJson(validateGet, { path: settingsPath(), digest, settings });
      else print(JSON.stringify(settings, undefined, 2));
    });
}

function setCommand(): Command {
  return new Command("set")
    .summary("replace the settings by JSON from standard input")
    .description(
      "Replaces the whole settings file by the JSON on standard input, if that is valid: luksmith settings set < FILE",
    )
    .option("--digest <sha256>", "refuse if the settings have changed since settings get", parseDigest)
    .option("--dry-run", "check only")
    .action(async ({ digest, dryRun }: { digest?: string; dryRun?: true }) => {
      requireRoot();
      const text = readStandardInput({
        what: "there are no settings to save",
        hint: "luksmith settings set < FILE",
      }).toString("utf8");
      warnOfDropped(parseSettings(text, "standard input"));
      if (dryRun) {
        print("the settings are valid; nothing was changed");
        return;
      }
      const runner = new ExecaCommandRunner();
      await saveSettings(text, { runner, ...(digest === undefined ? {} : { expectedDigest: digest }) });
      print(`saved: ${settingsPath()}`);
    });
}

/** What holds now may be broken, which is what the new settings are to put right. */
function warnOfDropped(after: EffectiveSettings): void {
  let before: EffectiveSettings;
  try {
    before = readSettings().settings;
  } catch (thrown) {
    if (!(thrown instanceof LuksmithError)) throw thrown;
    return;
  }
  for (const warning of warningsOfDropped(before, after)) process.stderr.write(`warning: ${warning}\n`);
}

/** In lower case, as `settings get --json` tells it. */
function parseDigest(text: string): string {
  if (/^[0-9a-f]{64}$/i.test(text)) return text.toLowerCase();
  throw new InvalidArgumentError(
    "It must be the 64 hexadecimal digits that luksmith settings get --json prints.",
  );
}

function schemaCommand(): Command {
  return new Command("schema")
    .summary("print the settings' JSON Schema")
    .description("Prints the JSON Schema that says which settings there are and what they may be.")
    .action(() => {
      print(readFileSync(join(PLUGIN_ROOT, loadManifest().settings.schema), "utf8").trimEnd());
    });
}
