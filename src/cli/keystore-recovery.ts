import { isatty } from "node:tty";
import { Command } from "commander";
import { LuksmithError } from "../error/luksmith-error.js";
import { parseRecoveryPassphrase, printed } from "../keystore/file/recovery-passphrase.js";
import type { Secret } from "../secret/secret.js";
import { readHiddenLine } from "./hidden-line.js";
import { careFor } from "./keystore-reprotect.js";
import { print } from "./output.js";
import { readStandardInput } from "./standard-input.js";
import { writeStandardOutput } from "./write-output.js";

export function recoveryCommand(): Command {
  return new Command("recovery")
    .summary("a passphrase that opens the master key without its protector")
    .description(
      "Makes, uses and removes the recovery passphrase of a file keystore: for a dead TPM or token, changed PCRs, lost Tang servers.",
    )
    .addCommand(createCommand())
    .addCommand(restoreCommand())
    .addCommand(removeCommand());
}

function createCommand(): Command {
  return new Command("create")
    .summary("make a recovery passphrase, and print it once")
    .description(
      "Makes a recovery passphrase for the master key of a file keystore and prints it on standard output, once. Write it down, and keep it away from this host.",
    )
    .argument("<name>", "name of a file keystore")
    .option("--replace", "in place of an earlier one, which then opens nothing more")
    .option("--dry-run", "see whether it could be made, make none")
    .action(async (name: string, { replace, dryRun }: { replace?: true; dryRun?: true }) => {
      const manner = dryRun ? "dry-run" : "apply";
      await careFor(name).createRecovery({ manner, existing: replace ? "replace" : "keep" }, show);
      if (dryRun) print(`would make a recovery passphrase for keystore ${name}`);
      // on standard error: standard output has the passphrase alone, for a pipe into a vault
      else process.stderr.write(advice(name));
    });
}

function show(passphrase: Secret): Promise<void> {
  const line = printed(passphrase);
  try {
    writeStandardOutput(line);
    return Promise.resolve();
  } finally {
    line.fill(0);
  }
}

function advice(name: string): string {
  return `The recovery passphrase of keystore ${name} is made. It is shown this once and stored nowhere.
Whoever has it and a copy of master-key.json opens every key of this keystore: write it
down and lock it away, far from this host and its backups. To use it:
  luksmith keystore recovery restore ${name}
`;
}

function restoreCommand(): Command {
  return new Command("restore")
    .summary("put the master key under the settings' protector, with the recovery passphrase")
    .description(
      "Reads the recovery passphrase from standard input (a terminal does not show it) and puts the master key of a file keystore under the protector of the settings, whatever became of the one before.",
    )
    .argument("<name>", "name of a file keystore")
    .option("--dry-run", "see whether the passphrase opens the master key, change nothing")
    .action(async (name: string, { dryRun }: { dryRun?: true }) => {
      const care = careFor(name);
      using passphrase = await readPassphrase();
      const { to } = await care.restore(passphrase, dryRun ? "dry-run" : "apply");
      print(
        `${dryRun ? "would restore" : "restored"} the master key of keystore ${name} under protector ${to}`,
      );
    });
}

/** @throws USAGE, RECOVERY_REJECTED naming the group that is mistyped */
async function readPassphrase(): Promise<Secret> {
  const typed = isatty(0)
    ? await readHiddenLine("Recovery passphrase: ")
    : readStandardInput({
        what: "there is no recovery passphrase",
        hint: "type it at a terminal, or luksmith keystore recovery restore NAME < FILE",
      });
  const parsed = parseRecoveryPassphrase(typed);
  if (parsed.kind === "passphrase") return parsed.passphrase;
  throw new LuksmithError("RECOVERY_REJECTED", {
    what: `the recovery passphrase ${parsed.reason}`,
    why: "it is eight groups of five letters and digits",
  });
}

function removeCommand(): Command {
  return new Command("remove")
    .summary("make the recovery passphrase worthless")
    .description(
      "Removes the recovery form from a file keystore: its passphrase opens nothing here any more. Older copies of master-key.json it still opens.",
    )
    .argument("<name>", "name of a file keystore")
    .option("--dry-run", "say what would be removed, remove nothing")
    .action(async (name: string, { dryRun }: { dryRun?: true }) => {
      const wasThere = await careFor(name).removeRecovery(dryRun ? "dry-run" : "apply");
      if (!wasThere) print(`keystore ${name} has no recovery passphrase`);
      else print(`${dryRun ? "would remove" : "removed"} the recovery passphrase of keystore ${name}`);
    });
}
