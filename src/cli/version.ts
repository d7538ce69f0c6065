import { Command } from "commander";
import validate from "../generated/validate-version.cjs";
import type { VersionOutput } from "../generated/version.js";
import { loadManifest } from "../manifest/load.js";
import { print, printJson } from "./output.js";

export function versionCommand(): Command {
  return new Command("version")
    .summary("print the version")
    .option("--json", "for machines")
    .action(({ json }: { json?: true }) => {
      const { version, apiVersion } = loadManifest();
      if (json)
        printJson(validate, { version, apiVersion, node: process.versions.node } satisfies VersionOutput);
      else print(`luksmith ${version}`);
    });
}
