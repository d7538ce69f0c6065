import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { loadManifest, PLUGIN_ROOT } from "../manifest/load.js";
import { print } from "./output.js";
import { getCommand } from "./settings-get.js";
import { previewCommand } from "./settings-preview.js";
import { setCommand } from "./settings-set.js";
import { testCommand } from "./settings-test.js";

export function settingsCommand(): Command {
  return new Command("settings")
    .summary("read, check and change the settings")
    .description("Reads, checks and changes the settings, which the hooks read at every event.")
    .addCommand(getCommand())
    .addCommand(setCommand())
    .addCommand(testCommand())
    .addCommand(previewCommand())
    .addCommand(schemaCommand());
}

function schemaCommand(): Command {
  return new Command("schema")
    .summary("print the settings' JSON Schema")
    .description("Prints the JSON Schema that says which settings there are and what they may be.")
    .action(() => {
      print(readFileSync(join(PLUGIN_ROOT, loadManifest().settings.schema), "utf8").trimEnd());
    });
}
