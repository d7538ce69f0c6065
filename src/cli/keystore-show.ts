import { Command } from "commander";
import type { KeystoreOutput } from "../generated/keystore.js";
import validate from "../generated/validate-keystore.cjs";
import type { CommandRunner } from "../exec/command-runner.js";
import type { KeystoreSettings } from "../keystore/index.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { COMMAND_RUNNER, SETTINGS } from "../tokens.js";
import { open } from "./open.js";
import { print, printJson } from "./output.js";

type Shown = KeystoreOutput["keystores"][number];

export function showKeystoreCommand(): Command {
  return new Command("show")
    .summary("show keystores: protector, recovery passphrase, number of keys")
    .description(
      "Shows every keystore of the settings, or one: of a file keystore the protector of its master key, whether there is a recovery passphrase, and how many keys it holds. Opens nothing.",
    )
    .argument("[name]", "name of a keystore")
    .option("--json", "for machines")
    .action(async (name: string | undefined, { json }: { json?: true }) => {
      const container = open();
      const { keystores } = container.resolve(SETTINGS);
      const wanted = keystores.filter((keystore) => name === undefined || keystore.name === name);
      if (wanted.length === 0) throw unknown(name, keystores);
      const runner = container.resolve(COMMAND_RUNNER);
      const shown = await Promise.all(wanted.map((settings) => show(settings, runner)));
      if (json) printJson(validate, { keystores: shown } satisfies KeystoreOutput);
      else print(shown.map(inWords).join("\n"));
    });
}

async function show(settings: KeystoreSettings, runner: CommandRunner): Promise<Shown> {
  const { name, type } = settings;
  if (settings.type !== "file") return { name, type };
  const { statusOf } = await import("../keystore/file/status.js");
  const status = await statusOf(settings, runner);
  return { name, type, directory: settings.directory, ...status };
}

function inWords({ name, type, directory, keys, masterKey, protector, recovery }: Shown): string {
  const heading = `keystore ${name} (${type})`;
  if (directory === undefined || protector === undefined) return heading;
  const lines = {
    directory,
    keys: String(keys),
    "master key": masterKey === "missing" ? "none yet: the first key makes it" : (masterKey ?? ""),
    protector: protectorInWords(protector),
    recovery: recovery === undefined ? "no passphrase" : `passphrase made at ${recovery}`,
  };
  return [heading, ...Object.entries(lines).map(([label, text]) => `  ${label.padEnd(12)}${text}`)].join(
    "\n",
  );
}

function protectorInWords({ stored, settings, differs }: NonNullable<Shown["protector"]>): string {
  if (stored === undefined) return `${settings} (settings)`;
  if (!differs) return stored;
  return `${stored}; the settings say ${stored === settings ? "otherwise" : settings}: luksmith keystore reprotect`;
}

function unknown(name = "", keystores: readonly KeystoreSettings[]): LuksmithError {
  return new LuksmithError("KEYSTORE_UNKNOWN", {
    what: `there is no keystore ${name}`,
    hint: `the settings have: ${keystores.map((known) => known.name).join(", ")}`,
  });
}
