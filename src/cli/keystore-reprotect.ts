import { Command } from "commander";
import { KeystoreCare } from "../keystore/file/care.js";
import { COMMAND_RUNNER, SETTINGS } from "../tokens.js";
import { fileKeystoreNamed } from "./file-keystore-named.js";
import { open } from "./open.js";
import { print } from "./output.js";

export function reprotectCommand(): Command {
  return new Command("reprotect")
    .summary("put the master key under the protector that the settings name")
    .description(
      "Opens the master key of a file keystore with the protector that keeps it, and puts it under the one of the settings. The keys, and the recovery passphrase, stay as they are.",
    )
    .argument("<name>", "name of a file keystore")
    .option("--dry-run", "open the master key and say what would be done, change nothing")
    .action(async (name: string, { dryRun }: { dryRun?: true }) => {
      const { from, to } = await careFor(name).reprotect(dryRun ? "dry-run" : "apply");
      const change = `the master key of keystore ${name} under protector ${to}; it was under ${from ?? "none"}`;
      print(dryRun ? `would put ${change}` : `put ${change}`);
    });
}

export function careFor(name: string): KeystoreCare {
  const container = open();
  const settings = fileKeystoreNamed(container.resolve(SETTINGS), name);
  return new KeystoreCare(settings, container.resolve(COMMAND_RUNNER));
}
