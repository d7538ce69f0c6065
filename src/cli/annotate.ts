import { Command } from "commander";
import { EXIT } from "../error/catalogue.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { AnnotateOutput } from "../generated/annotate.js";
import validate from "../generated/validate-annotate.cjs";
import type { AnnotatedGuest } from "../host/proxmox/annotate-guest.js";
import { ProxmoxAnnotator } from "../host/proxmox/annotator.js";
import { ProxmoxPlaces } from "../host/proxmox/places.js";
import { COMMAND_RUNNER, HOST, KEYRING, LOGGER, SETTINGS, STORAGE } from "../tokens.js";
import { open } from "./open.js";
import { print, printJson } from "./output.js";

interface Options {
  readonly remove?: true;
  readonly dryRun?: true;
  readonly json?: true;
}

export function annotateCommand(): Command {
  return new Command("annotate")
    .summary("tell in tag and notes of VMs which disks are encrypted")
    .description(
      "On Proxmox VE: brings the tag encrypted, and the block in a VM's notes with a line for each encrypted disk, up to " +
        "date. Runs by itself after each start and with luksmith reap. Nothing depends on them: what encrypts a disk is " +
        "its storage, and what tells its key is its LUKS header.",
    )
    .argument("[vmid...]", "VMIDs or names; all VMs of this node without it")
    .option("--remove", "take block and tag away; the setting proxmox.annotate keeps them away")
    .option("--dry-run", "say what would be changed, change nothing")
    .option("--json", "for machines")
    .action(async (vmids: string[], { remove, dryRun, json }: Options) => {
      const container = open();
      if (container.resolve(HOST).type !== "proxmox") throw notForThisHost();
      const annotator = new ProxmoxAnnotator({
        runner: container.resolve(COMMAND_RUNNER),
        storage: container.resolve(STORAGE),
        keyring: container.resolve(KEYRING),
        settings: container.resolve(SETTINGS),
        places: new ProxmoxPlaces(),
      });
      const logger = container.resolve(LOGGER);
      try {
        const guests = await annotator.annotate(vmids, {
          manner: dryRun ? "dry-run" : "apply",
          notes: remove ? "remove" : "bring-up-to-date",
        });
        for (const { name: guest, outcome } of guests)
          if (outcome === "changed") logger.info("tag and notes brought up to date", { guest });
        if (json) printJson(validate, { guests: guests.map(outputOf) } satisfies AnnotateOutput);
        else show(guests);
        if (guests.some(({ outcome }) => outcome === "left")) process.exitCode = EXIT.unavailable;
      } finally {
        await logger.close();
      }
    });
}

function outputOf({ disks, ...guest }: AnnotatedGuest): AnnotateOutput["guests"][number] {
  return { ...guest, disks: disks.map((note) => ({ ...note })) };
}

function show(guests: readonly AnnotatedGuest[]): void {
  const news = guests.filter(({ outcome }) => outcome !== "unchanged");
  for (const guest of news) print(render(guest));
  if (news.length === 0) print("nothing to do: tags and notes say what is true");
}

function render({ vmid, name, outcome, why = "nobody knows why", disks }: AnnotatedGuest): string {
  const guest = name === vmid ? `VM ${vmid}` : `VM ${vmid} (${name})`;
  const about = disks.length === 0 ? "no encrypted disk" : disks.map(({ disk }) => disk).join(", ");
  switch (outcome) {
    case "changed":
      return `${guest}: tag and notes tell of ${about}`;
    case "found":
      return `${guest}: tag and notes would tell of ${about}`;
    case "left":
      return `${guest}: left as it is: ${why}`;
    case "unchanged":
      return `${guest}: unchanged`;
  }
}

function notForThisHost(): LuksmithError {
  return new LuksmithError("HOST_UNSUPPORTED", {
    what: "luksmith annotate is for guests of Proxmox VE",
    why: "the definitions of libvirt's guests have encryption blocks, which luksmith protect writes",
    hint: "see: luksmith status",
  });
}
