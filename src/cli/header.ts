import { Command } from "commander";
import { backupCommand } from "./header-backup.js";
import { listCommand } from "./header-list.js";
import { restoreCommand } from "./header-restore.js";
import { showCommand } from "./header-show.js";
import { verifyCommand } from "./header-verify.js";

export function headerCommand(): Command {
  return new Command("header")
    .summary("show, keep, verify and restore LUKS headers")
    .description(
      "Shows LUKS headers with their keyslots, keeps copies of them on this host, compares the two, and restores a header " +
        "from a copy.",
    )
    .addCommand(listCommand())
    .addCommand(showCommand())
    .addCommand(backupCommand())
    .addCommand(verifyCommand())
    .addCommand(restoreCommand());
}
