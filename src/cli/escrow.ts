import { Command } from "commander";
import { addCommand } from "./escrow-add.js";
import { listCommand } from "./escrow-list.js";
import { removeCommand } from "./escrow-remove.js";

export function escrowCommand(): Command {
  return new Command("escrow")
    .summary("keyslots that open disks without any keystore")
    .description(
      "Adds, lists and removes recovery keyslots: a passphrase on paper, or in a file that the holders of age " +
        "identities can read, opens the disk when the keystore is lost. luksmith recover uses it.",
    )
    .addCommand(addCommand())
    .addCommand(listCommand())
    .addCommand(removeCommand());
}
