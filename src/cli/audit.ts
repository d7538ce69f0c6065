import { Command } from "commander";
import { auditHeadCommand } from "./audit-head.js";
import { auditShowCommand } from "./audit-show.js";
import { auditVerifyCommand } from "./audit-verify.js";

export function auditCommand(): Command {
  return new Command("audit")
    .summary("the record of every use of a key")
    .description("Shows and checks the audit log.")
    .addCommand(auditShowCommand())
    .addCommand(auditVerifyCommand())
    .addCommand(auditHeadCommand());
}
