import { Command, InvalidArgumentError } from "commander";
import { LuksmithError } from "../error/luksmith-error.js";
import { visible } from "../error/printable.js";
import { ExecaCommandRunner } from "../exec/command-runner.js";
import type { SettingsSetOutput } from "../generated/settings-set.js";
import validate from "../generated/validate-settings-set.cjs";
import { digestOf, readSettings, readSettingsBytes } from "../settings/load.js";
import { requireSecrets } from "../settings/missing-secrets.js";
import { secretsDirectoryOf, settingsPath } from "../settings/paths.js";
import { saveSettings } from "../settings/save.js";
import type { EffectiveSettings } from "../settings/settings.js";
import { warningsOfDropped } from "./dropped-keystores.js";
import { requireRoot } from "./open.js";
import { print, printJson } from "./output.js";
import { readGivenSettings } from "./settings-input.js";

interface Options {
  readonly digest?: string;
  readonly dryRun?: true;
  readonly json?: true;
}

export function setCommand(): Command {
  return new Command("set")
    .summary("replace the settings by JSON from standard input")
    .description(
      "Replaces the whole settings file by the JSON on standard input, if that is valid: luksmith settings set < FILE. " +
        "A secret in it (password, secret, token, secretId, pin) goes to a file of its own, which the settings then name.",
    )
    .option("--digest <sha256>", "refuse if the settings have changed since settings get", parseDigest)
    .option("--dry-run", "check only")
    .option("--json", "for machines")
    .action(set);
}

async function set({ digest, dryRun, json }: Options): Promise<void> {
  requireRoot();
  const path = settingsPath();
  const directory = secretsDirectoryOf(path);
  using given = readGivenSettings("luksmith settings set < FILE", directory);
  const warnings = warningsOf(given.settings);
  for (const warning of warnings) process.stderr.write(`warning: ${visible(warning)}\n`);
  const expected = digest === undefined ? {} : { expectedDigest: digest };
  if (dryRun) requireSecrets(given.text, directory, new Set(given.secrets.map((secret) => secret.path)));
  const outcome = dryRun
    ? ({ change: "checked", digest: digestOf(readSettingsBytes(path)) } as const)
    : ({
        change: "saved",
        digest: await saveSettings(given, { runner: new ExecaCommandRunner(), path, ...expected }),
      } as const);
  if (json) printJson(validate, { ...outcome, path, warnings } satisfies SettingsSetOutput);
  else print(dryRun ? "the settings are valid; nothing was changed" : `saved: ${path}`);
}

/** What holds now may be broken, which is what the new settings are to put right. */
function warningsOf(after: EffectiveSettings): string[] {
  try {
    return warningsOfDropped(readSettings().settings, after);
  } catch (thrown) {
    if (!(thrown instanceof LuksmithError)) throw thrown;
    return [];
  }
}

/** In lower case, as `settings get --json` tells it. */
function parseDigest(text: string): string {
  if (/^[0-9a-f]{64}$/i.test(text)) return text.toLowerCase();
  throw new InvalidArgumentError(
    "It must be the 64 hexadecimal digits that luksmith settings get --json prints.",
  );
}
