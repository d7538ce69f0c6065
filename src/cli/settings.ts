import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isatty } from "node:tty";
import { Command, InvalidArgumentError } from "commander";
import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
import { EXIT } from "../error/catalogue.js";
import { ExecaCommandRunner } from "../exec/command-runner.js";
import type { SettingsTestOutput } from "../generated/settings-test.js";
import validateGet from "../generated/validate-settings-get.cjs";
import validateTest from "../generated/validate-settings-test.cjs";
import { createKeyring } from "../keystore/index.js";
import { canTest, type Keystore } from "../keystore/keystore.js";
import { loadManifest, PLUGIN_ROOT } from "../manifest/load.js";
import { parseSettings, readSettings } from "../settings/load.js";
import { SETTINGS_PATH } from "../settings/paths.js";
import { saveSettings } from "../settings/save.js";
import { problemOf } from "./problem.js";
import { requireRoot } from "./open.js";
import { print, printJson } from "./output.js";

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
      if (json) printJson(validateGet, { path: SETTINGS_PATH, digest, settings });
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
      const text = readStandardInput();
      parseSettings(text, "standard input");
      if (dryRun) {
        print("the settings are valid; nothing was changed");
        return;
      }
      const runner = new ExecaCommandRunner();
      await saveSettings(text, { runner, ...(digest === undefined ? {} : { expectedDigest: digest }) });
      print(`saved: ${SETTINGS_PATH}`);
    });
}

/** @throws USAGE instead of waiting for somebody to type JSON, or calling an empty pipe invalid settings */
function readStandardInput(): string {
  const text = isatty(STDIN) ? undefined : readFileSync(STDIN, "utf8");
  if (text?.trim()) return text;
  throw new LuksmithError("USAGE", {
    what: "there are no settings to save",
    why: text === undefined ? "standard input is a terminal" : "nothing came on standard input",
    hint: "luksmith settings set < FILE",
  });
}

const STDIN = 0;

/** In lower case, as `settings get --json` tells it. */
function parseDigest(text: string): string {
  if (/^[0-9a-f]{64}$/i.test(text)) return text.toLowerCase();
  throw new InvalidArgumentError(
    "It must be the 64 hexadecimal digits that luksmith settings get --json prints.",
  );
}

function testCommand(): Command {
  return new Command("test")
    .summary("try every keystore with a throw-away key")
    .description(
      "Opens every key of every keystore, and stores, changes, fetches and deletes a throw-away key in each.",
    )
    .option("--json", "for machines")
    .action(async ({ json }: { json?: true }) => {
      requireRoot();
      const keystores = await Promise.all(createKeyring(readSettings().settings).all().map(testKeystore));
      const ok = keystores.every((keystore) => keystore.ok);
      if (json) printJson(validateTest, { ok, keystores } satisfies SettingsTestOutput);
      else {
        for (const { name, type, problem } of keystores) {
          print(
            problem
              ? `failed: keystore ${name} (${type}): ${problem.what}`
              : `ok: keystore ${name} (${type})`,
          );
          if (problem?.why) print(`cause: ${problem.why}`);
          if (problem?.hint) print(`hint: ${problem.hint}`);
        }
      }
      if (!ok) process.exitCode = EXIT.failure;
    });
}

async function testKeystore(keystore: Keystore): Promise<SettingsTestOutput["keystores"][number]> {
  const { name, type } = keystore;
  try {
    if (canTest(keystore)) await keystore.test();
    return { name, type, ok: true };
  } catch (thrown) {
    return { name, type, ok: false, problem: problemOf(asLuksmithError(thrown)) };
  }
}

function schemaCommand(): Command {
  return new Command("schema")
    .summary("print the settings' JSON Schema")
    .description("Prints the JSON Schema that says which settings there are and what they may be.")
    .action(() => {
      print(readFileSync(join(PLUGIN_ROOT, loadManifest().settings.schema), "utf8").trimEnd());
    });
}
