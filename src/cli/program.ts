import { Command } from "commander";
import { adoptCommand } from "./adopt.js";
import { allocateCommand } from "./allocate.js";
import { annotateCommand } from "./annotate.js";
import { attachCommand } from "./attach.js";
import { bridgeCommand } from "./bridge.js";
import { cacheCommand } from "./cache.js";
import { capabilitiesCommand } from "./capabilities.js";
import { completionCommand } from "./completion.js";
import { convertCommand } from "./convert.js";
import { detachCommand } from "./detach.js";
import { doctorCommand } from "./doctor.js";
import { loadManifest } from "../manifest/load.js";
import { detectHost } from "../host/index.js";
import { isUnsupported, unsupportedCommand } from "../host/proxmox/unsupported.js";
import { growCommand } from "./grow.js";
import { installCommand, uninstallCommand } from "./install.js";
import { keysCommand } from "./keys.js";
import { keystoreCommand } from "./keystore.js";
import { migrateCheckCommand } from "./migrate-check.js";
import { planCommand } from "./plan.js";
import { protectCommand } from "./protect.js";
import { reapCommand } from "./reap.js";
import { settingsCommand } from "./settings.js";
import { settleCommand } from "./settle.js";
import { statusCommand } from "./status.js";
import { tokenFileOption } from "./token-file.js";
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
      refuseUnsupported(command);
    })
    .addCommand(inherit(installCommand()))
    .addCommand(inherit(uninstallCommand()))
    .addCommand(inherit(protectCommand()))
    .addCommand(inherit(allocateCommand()))
    .addCommand(inherit(growCommand()))
    .addCommand(inherit(attachCommand()))
    .addCommand(inherit(detachCommand()))
    .addCommand(inherit(adoptCommand()))
    .addCommand(inherit(convertCommand()))
    .addCommand(inherit(statusCommand()))
    .addCommand(inherit(planCommand()))
    .addCommand(inherit(migrateCheckCommand()))
    .addCommand(inherit(settingsCommand()))
    .addCommand(inherit(keysCommand()))
    .addCommand(inherit(keystoreCommand()))
    .addCommand(inherit(cacheCommand()))
    .addCommand(inherit(annotateCommand()))
    .addCommand(inherit(reapCommand()))
    .addCommand(inherit(capabilitiesCommand()))
    .addCommand(inherit(doctorCommand()))
    .addCommand(inherit(versionCommand()))
    .addCommand(inherit(completionCommand()))
    .addCommand(inherit(bridgeCommand()), { hidden: true })
    .addCommand(inherit(settleCommand()), { hidden: true });
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
