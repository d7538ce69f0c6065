import { Command } from "commander";
import { EXIT } from "../error/catalogue.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { ExecaCommandRunner } from "../exec/command-runner.js";
import type { SettingsTestOutput } from "../generated/settings-test.js";
import validate from "../generated/validate-settings-test.cjs";
import { createKeyring, type KeystoreSettings } from "../keystore/index.js";
import { readSettings } from "../settings/load.js";
import { requireRoot } from "./open.js";
import { print, printJson } from "./output.js";
import { handedOver } from "./token-file.js";
import { problemOf } from "../error/problem.js";
import { describeTrial, type Trial, tryKeystore } from "./try-keystore.js";

export function testCommand(): Command {
  return new Command("test")
    .summary("try keystores with a throw-away key")
    .description(
      "Tries every keystore, or those that are named: is it reached, can it be trusted, does it know us, and does it " +
        "store, change, fetch and delete a throw-away key. Opens every key of a file keystore.",
    )
    .argument("[name...]", "names of keystores in the settings; all without it")
    .option("--json", "for machines")
    .action(test);
}

interface Tried {
  readonly settings: KeystoreSettings;
  readonly trial: Trial;
}

async function test(names: readonly string[], { json }: { json?: true }): Promise<void> {
  requireRoot();
  const { settings } = readSettings();
  const chosen = choose(settings.keystores, names);
  const keyring = createKeyring(settings, { runner: new ExecaCommandRunner(), ...handedOver() });
  const tried = await Promise.all(
    chosen.map(async (one) => ({ settings: one, trial: await tryKeystore(() => keyring.get(one.name)) })),
  );
  const ok = tried.every(({ trial }) => trial.error === undefined);
  if (json) printJson(validate, { ok, keystores: tried.map(outputOf) } satisfies SettingsTestOutput);
  else tried.forEach(show);
  if (!ok) process.exitCode = EXIT.failure;
}

/** @throws KEYSTORE_UNKNOWN */
function choose(
  keystores: readonly KeystoreSettings[],
  names: readonly string[],
): readonly KeystoreSettings[] {
  const known = keystores.map(({ name }) => name);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new LuksmithError("KEYSTORE_UNKNOWN", {
      what: `there is no keystore ${unknown}`,
      hint: `the settings have: ${known.join(", ")}`,
    });
  }
  return names.length === 0 ? keystores : keystores.filter(({ name }) => names.includes(name));
}

function outputOf({ settings: { name, type }, trial }: Tried): SettingsTestOutput["keystores"][number] {
  const { checks, seconds, error } = trial;
  const outcome = { name, type, ok: error === undefined, checks: [...checks], seconds };
  return error === undefined ? outcome : { ...outcome, problem: problemOf(error) };
}

function show({ settings: { name, type }, trial }: Tried): void {
  const { error } = trial;
  if (error === undefined) {
    print(`ok: keystore ${name} (${type}): ${describeTrial(trial)}`);
    return;
  }
  const passed = trial.checks.length === 0 ? "" : `${trial.checks.join(", ")}; then `;
  print(`failed: keystore ${name} (${type}) after ${trial.seconds.toFixed(2)} s: ${passed}${error.message}`);
  if (error.why !== undefined) print(`cause: ${error.why}`);
  if (error.hint !== undefined) print(`hint: ${error.hint}`);
}
