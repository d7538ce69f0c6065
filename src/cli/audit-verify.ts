import { Argument, Command, InvalidArgumentError } from "commander";
import { readHead } from "../audit/chain-file.js";
import { logWithRotated, readLogs } from "../audit/log-files.js";
import { type Verification, verify } from "../audit/verify.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { AuditVerifyOutput } from "../generated/audit-verify.js";
import validate from "../generated/validate-audit-verify.cjs";
import { SETTINGS } from "../tokens.js";
import { open } from "./open.js";
import { print, printJson } from "./output.js";

interface Options {
  readonly expect?: string;
  readonly json?: true;
}

export function auditVerifyCommand(): Command {
  return new Command("verify")
    .summary("check that nothing in the audit log was changed or removed")
    .description(
      "Follows the chain of hashes through the log and the files that it was rotated to. Who can write the log as root " +
        "can write all of it anew; against that, keep what luksmith audit head prints elsewhere, and give it to --expect.",
    )
    .addArgument(new Argument("[file...]", "log files, the oldest first; this host's without it"))
    .option("--expect <hash>", "an entry with this hash must be there", parseHash)
    .option("--json", "for machines")
    .action(verifyLogs);
}

function parseHash(text: string): string {
  if (/^[0-9a-f]{64}$/.test(text)) return text;
  throw new InvalidArgumentError("It must be a hash as luksmith audit head prints it.");
}

function verifyLogs(paths: readonly string[], { expect: hash, json }: Options): void {
  const { file } = open().resolve(SETTINGS).audit;
  const isOwn = paths.length === 0;
  // before the files: what is written meanwhile is no entry too many
  const head = isOwn ? readHead(file) : undefined;
  const files = isOwn ? logWithRotated(file) : readLogs(paths, "refused");
  const found = verify(files, { ...(hash && { hash }), ...(head && { head }) });
  const names = files.map(({ path }) => path);
  if (json) printJson(validate, { ...outputOf(found), files: names } satisfies AuditVerifyOutput);
  else say(found);
  if (found.broken === undefined) return;
  const { file: where, line, reason } = found.broken;
  throw new LuksmithError("AUDIT_BROKEN", {
    what: `the audit log ${where} is not what was written: line ${line}`,
    why: reason,
    hint: "keep the file, and look who could write to it; what other entries say is in the journal, where it is kept",
  });
}

function outputOf({ entries, before, cutShort, first, last, broken }: Verification) {
  return {
    intact: broken === undefined,
    ...{ entries, before, cutShort },
    ...(first && { first }),
    ...(last && { last }),
    ...(broken && { broken }),
  };
}

function say({ entries, before, cutShort, first, last, broken }: Verification): void {
  if (first === undefined || last === undefined) print("the audit log has no entry");
  else print(`${entries} entries fit: ${first.seq} to ${last.seq}`);
  if (before > 0)
    print(`entries 1 to ${before} are in none of these files: they were rotated away, or removed`);
  if (cutShort > 0) print(`${cutShort} lines were cut short by a power cut or a full disk`);
  if (broken === undefined && last !== undefined) print(`last entry: ${last.seq} ${last.hash}`);
}
