import { Command } from "commander";
import { nameCommand } from "../audit/actor.js";
import { adoptCommand } from "./adopt.js";
import { allocateCommand } from "./allocate.js";
import { annotateCommand } from "./annotate.js";
import { attachCommand } from "./attach.js";
import { auditCommand } from "./audit.js";
import { bridgeCommand } from "./bridge.js";
import { cacheCommand } from "./cache.js";
import { capabilitiesCommand } from "./capabilities.js";
import { completionCommand } from "./completion.js";
import { convertCommand } from "./convert.js";
import { detachCommand } from "./detach.js";
import { escrowCommand } from "./escrow.js";
import { doctorCommand } from "./doctor.js";
import { drillCommand } from "./drill.js";
import { loadManifest } from "../manifest/load.js";
import { detectHost } from "../host/index.js";
import { isUnsupported, unsupportedCommand } from "../host/proxmox/unsupported.js";
import { growCommand } from "./grow.js";
import { headerCommand } from "./header.js";
import { installCommand, uninstallCommand } from "./install.js";
import { keysCommand } from "./keys.js";
import { keystoreCommand } from "./keystore.js";
import { migrateCheckCommand } from "./migrate-check.js";
import { planCommand } from "./plan.js";
import { protectCommand } from "./protect.js";
import { purgeCommand } from "./purge.js";
import { reapCommand } from "./reap.js";
import { recoverCommand } from "./recover.js";
import { separateCommand } from "./separate.js";
import { rotateCommand } from "./rotate.js";
import { settingsCommand } from "./settings.js";
import { settleCommand } from "./settle.js";
import { shredCommand } from "./shred.js";
import { statusCommand } from "./status.js";
import { tokenFileOption } from "./token-file.js";
import { uiCommand } from "./ui.js";
import { unprotectCommand } from "./unprotect.js";
import { versionCommand } from "./version.js";

export const EXIT_CODES = `
Exit codes:
  0  done
  1  failed
  2  wrong command line
  3  refused, to protect data or to keep a promise; nothing was changed
  4  a keystore, a host manager or a volume is not available now
  5  something is damaged, or is not what its record says
  6  settings or permissions must be corrected
`;

/** The whole command line; every command is one file beside this one. */
export function createProgram(): Command {
  return new Command("luksmith")
    .description("Gives every disk of every virtual machine its own LUKS key.")
    .version(loadManifest().version, "--version", "print the version")
    .addOption(tokenFileOption())
    .exitOverride()
    .showSuggestionAfterError()
    .addHelpText("after", EXIT_CODES)
    .hook("preAction", (_, command) => {
      nameCommand(namesOf(command));
      refuseUnsupported(command);
    })
    .addCommand(inherit(installCommand()))
    .addCommand(inherit(uninstallCommand()))
    .addCommand(inherit(protectCommand()))
    .addCommand(inherit(unprotectCommand()))
    .addCommand(inherit(purgeCommand()))
    .addCommand(inherit(allocateCommand()))
    .addCommand(inherit(growCommand()))
    .addCommand(inherit(attachCommand()))
    .addCommand(inherit(detachCommand()))
    .addCommand(inherit(adoptCommand()))
    .addCommand(inherit(convertCommand()))
    .addCommand(inherit(rotateCommand()))
    .addCommand(inherit(statusCommand()))
    .addCommand(inherit(planCommand()))
    .addCommand(inherit(migrateCheckCommand()))
    .addCommand(inherit(settingsCommand()))
    .addCommand(inherit(uiCommand()))
    .addCommand(inherit(keysCommand()))
    .addCommand(inherit(keystoreCommand()))
    .addCommand(inherit(headerCommand()))
    .addCommand(inherit(escrowCommand()))
    .addCommand(inherit(recoverCommand()))
    .addCommand(inherit(drillCommand()))
    .addCommand(inherit(separateCommand()))
    .addCommand(inherit(cacheCommand()))
    .addCommand(inherit(auditCommand()))
    .addCommand(inherit(shredCommand()))
    .addCommand(inherit(annotateCommand()))
    .addCommand(inherit(reapCommand()))
    .addCommand(inherit(capabilitiesCommand()))
    .addCommand(inherit(doctorCommand()))
    .addCommand(inherit(versionCommand()))
    .addCommand(inherit(completionCommand()))
    .addCommand(inherit(bridgeCommand()), { hidden: true })
    .addCommand(inherit(settleCommand()), { hidden: true });
}

/** `luksmith keys export` */
function namesOf(command: Command): string[] {
  return [...(command.parent === null ? [] : namesOf(command.parent)), command.name()];
}

/** A command that the host manager of this host has no use for. @throws HOST_UNSUPPORTED */
function refuseUnsupported(command: Command): void {
  if (isUnsupported(command.name()) && command.parent?.parent === null && detectHost() === "proxmox")
    throw unsupportedCommand(command.name(), command.args);
}

/** commander passes `exitOverride` on only to commands that it makes itself. */
function inherit(command: Command): Command {
  command.commands.forEach(inherit);
  return command.exitOverride().showSuggestionAfterError();
}
