import { Command } from "commander";
import { EXIT } from "../error/catalogue.js";
import type { DoctorOutput } from "../generated/doctor.js";
import validate from "../generated/validate-doctor.cjs";
import { type Check, CHECKS } from "./doctor-checks.js";
import { open } from "./open.js";
import { print, printJson } from "./output.js";

export function doctorCommand(): Command {
  return new Command("doctor")
    .summary("find out what is wrong with this host")
    .option("--json", "for machines")
    .action(async ({ json }: { json?: true }) => {
      const container = open();
      const checks = (await Promise.all(CHECKS.map((check) => check(container)))).flat();
      const ok = checks.every(({ result }) => result !== "failed");
      if (json) printJson(validate, { ok, checks } satisfies DoctorOutput);
      else checks.forEach(show);
      if (!ok) process.exitCode = EXIT.failure;
    });
}

function show({ name, result, detail, hint }: Check): void {
  print(`${result}: ${name}: ${detail}`);
  if (hint !== undefined) print(`hint: ${hint}`);
}
