import { Command } from "commander";
import { EXIT } from "../error/catalogue.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { problemOf } from "../error/problem.js";
import { ExecaCommandRunner } from "../exec/command-runner.js";
import type { SettingsTestProgress } from "../generated/settings-test-progress.js";
import type { SettingsTestOutput } from "../generated/settings-test.js";
import validateProgress from "../generated/validate-settings-test-progress.cjs";
import validate from "../generated/validate-settings-test.cjs";
import { createKeyring, type KeystoreSettings } from "../keystore/index.js";
import { readSettings } from "../settings/load.js";
import { requireRoot } from "./open.js";
import { print, printJson, printJsonLine } from "./output.js";
import { type Candidate, readCandidate } from "./settings-candidate.js";
import { inPlace, type Staged } from "./settings-stage.js";
import { handedOver } from "./token-file.js";
import { describeTrial, type Trial, tryKeystore } from "./try-keystore.js";

interface Options {
  readonly stdin?: true;
  readonly json?: true;
  readonly progress?: true;
}

export function testCommand(): Command {
  return new Command("test")
    .summary("try keystores with a throw-away key")
    .description(
      "Tries every keystore, or those that are named: is it reached, can it be trusted, does it know us, and does it " +
        "store, change, fetch and delete a throw-away key. Opens every key of a file keystore.",
    )
    .argument("[name...]", "names of keystores in the settings; all without it")
    .option("--stdin", "try those of the settings on standard input, which are not saved")
    .option("--json", "for machines")
    .option(
      "--progress",
      "with --json: a line for each check as it is passed, and the whole on the last line",
    )
    .action(test);
}

interface Tried {
  readonly settings: Pick<KeystoreSettings, "name" | "type">;
  readonly trial: Trial;
}

async function test(names: readonly string[], { stdin, json, progress }: Options): Promise<void> {
  requireRoot();
  if (progress && !json) throw new LuksmithError("USAGE", { what: "--progress is for --json" });
  // first, since both may be on standard input
  const token = handedOver();
  const runner = new ExecaCommandRunner();
  using candidate = stdin ? readCandidate(runner) : savedKeystores();
  const chosen = choose(candidate.keystores, names);
  const keystores = chosen.map(({ keystore }) => keystore);
  const keyring = createKeyring({ keystores }, { runner, ...token });
  const tell = progress ? printProgress : () => undefined;
  const tried = await Promise.all(
    chosen.map(async ({ keystore, check, settle }): Promise<Tried> => {
      const { name } = keystore;
      tell({ event: "begin", keystore: name });
      const make = async () => {
        await check();
        return await keyring.get(name);
      };
      const trial = await tryKeystore(make, undefined, (passed) =>
        tell({ event: "passed", keystore: name, check: passed }),
      );
      settle();
      return { settings: keystore, trial };
    }),
  );
  const ok = tried.every(({ trial }) => trial.error === undefined);
  const output = { ok, keystores: tried.map(outputOf) } satisfies SettingsTestOutput;
  if (!json) tried.forEach(show);
  else if (progress) printJsonLine(validate, output);
  else printJson(validate, output);
  if (!ok) process.exitCode = EXIT.failure;
}

/** As they are saved, each in its place. */
function savedKeystores(): Candidate {
  const { keystores } = readSettings().settings;
  return { keystores: keystores.map(inPlace), [Symbol.dispose]: () => undefined };
}

function printProgress(event: SettingsTestProgress): void {
  printJsonLine(validateProgress, event);
}

/** @throws KEYSTORE_UNKNOWN */
function choose(keystores: readonly Staged[], names: readonly string[]): readonly Staged[] {
  const known = keystores.map(({ keystore }) => keystore.name);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new LuksmithError("KEYSTORE_UNKNOWN", {
      what: `there is no keystore ${unknown}`,
      hint: `the settings have: ${known.join(", ")}`,
    });
  }
  return names.length === 0 ? keystores : keystores.filter(({ keystore: { name } }) => names.includes(name));
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
