import { Command } from "commander";
import { LuksmithError } from "../error/luksmith-error.js";
import { planOf } from "../plan/step.js";
import { recoverableDisks } from "../recovery/recoverable-disk.js";
import { RecoveryKeyslots } from "../recovery/recovery-keyslots.js";
import { HOST } from "../tokens.js";
import { changeGuest } from "./change.js";
import { open } from "./open.js";
import { print } from "./output.js";
import { recoveryPorts } from "./recovery-ports.js";

export function removeCommand(): Command {
  return new Command("remove")
    .summary("destroy a recovery keyslot")
    .description(
      "Destroys a recovery keyslot of a disk, with its escrow file and the copies of the LUKS header that still have " +
        "it. Copies elsewhere still open with what was given out, as long as nobody rotates the volume key.",
    )
    .argument("<guest>", "name, UUID or VMID")
    .argument("<disk>", "its device name: vda")
    .argument("<keyslot>", "its number: luksmith escrow list")
    .option("--unknown", "a keyslot that no record names, and that no passphrase of the key opens")
    .option("--dry-run", "say what would be done, change nothing")
    .action(remove);
}

async function remove(
  name: string,
  dev: string,
  number: string,
  { dryRun, unknown }: { dryRun?: true; unknown?: true },
): Promise<void> {
  const keyslot = keyslotNumber(number);
  const which = unknown ? "unknown" : "recovery";
  const container = open();
  await changeGuest(container, {
    command: "escrow",
    guest: name,
    manner: dryRun ? "dry-run" : "apply",
    work: async (id) => {
      const host = container.resolve(HOST);
      const [disk] = await recoverableDisks(host, await host.readGuest(id), dev);
      if (disk === undefined) throw new Error("recoverableDisks finds one or throws");
      const what = `${which} keyslot ${keyslot} of disk ${dev} of ${disk.guest.name}`;
      if (dryRun) {
        print(`would destroy ${what}`);
      } else {
        await new RecoveryKeyslots(recoveryPorts(container)).remove(disk, keyslot, which);
        print(`destroyed ${what}`);
      }
      return planOf();
    },
  });
}

function keyslotNumber(text: string): number {
  if (/^[0-9]{1,2}$/.test(text)) return Number(text);
  throw new LuksmithError("USAGE", {
    what: "a keyslot is named by its number",
    hint: "luksmith escrow list",
  });
}
