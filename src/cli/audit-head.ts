import { Command } from "commander";
import { BEGIN } from "../audit/entry.js";
import { logWithRotated } from "../audit/log-files.js";
import { verify } from "../audit/verify.js";
import type { AuditHeadOutput } from "../generated/audit-head.js";
import validate from "../generated/validate-audit-head.cjs";
import { SETTINGS } from "../tokens.js";
import { open } from "./open.js";
import { print, printJson } from "./output.js";

export function auditHeadCommand(): Command {
  return new Command("head")
    .summary("print the last entry's number and hash, to be kept elsewhere")
    .description(
      "Prints the number and the hash of the last entry. Kept where nobody who can write the log can change it, it " +
        "proves later that nothing up to there was changed: luksmith audit verify --expect HASH",
    )
    .option("--json", "for machines")
    .action(({ json }: { json?: true }) => {
      const { audit } = open().resolve(SETTINGS);
      const { last = BEGIN } = verify(logWithRotated(audit.file));
      if (json) printJson(validate, { seq: last.seq, hash: last.hash } satisfies AuditHeadOutput);
      else print(`${last.seq} ${last.hash}`);
    });
}
