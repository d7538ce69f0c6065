import { Command } from "commander";
import { deleteCommand } from "./keys-delete.js";
import { exportCommand } from "./keys-export.js";
import { formerCommand } from "./keys-former.js";
import { importCommand } from "./keys-import.js";
import { listCommand } from "./keys-list.js";
import { migrateCommand } from "./keys-migrate.js";
import { showCommand } from "./keys-show.js";

export function keysCommand(): Command {
  return new Command("keys")
    .summary("the keys that the keystores hold")
    .description("Shows, moves, saves, brings back and deletes the keys that the keystores hold.")
    .addCommand(listCommand())
    .addCommand(showCommand())
    .addCommand(formerCommand())
    .addCommand(migrateCommand())
    .addCommand(exportCommand())
    .addCommand(importCommand())
    .addCommand(deleteCommand());
}
