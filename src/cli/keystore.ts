import { Command } from "commander";
import { recoveryCommand } from "./keystore-recovery.js";
import { reprotectCommand } from "./keystore-reprotect.js";
import { showKeystoreCommand } from "./keystore-show.js";

export function keystoreCommand(): Command {
  return new Command("keystore")
    .summary("the master keys of file keystores")
    .description("Shows the keystores, and takes care of the master keys of those on this host (type file).")
    .addCommand(showKeystoreCommand())
    .addCommand(reprotectCommand())
    .addCommand(recoveryCommand());
}
