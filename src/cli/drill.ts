import { Command } from "commander";
import type { Container } from "../di.js";
import { CATALOGUE } from "../error/catalogue.js";
import { asLuksmithError } from "../error/luksmith-error.js";
import type { DrillOutput } from "../generated/drill.js";
import validate from "../generated/validate-drill.cjs";
import { type DiskDrill, drillDisk } from "../recovery/drill-disk.js";
import { type RecoverableDisk, recoverableDisks } from "../recovery/recoverable-disk.js";
import { readIdentities } from "../keystore/transfer/identities.js";
import { volumeName } from "../storage/volume.js";
import { HOST, SETTINGS } from "../tokens.js";
import { open } from "./open.js";
import { print, printJson } from "./output.js";
import { recoveryPorts } from "./recovery-ports.js";

interface Options {
  readonly identity?: string;
  readonly json?: true;
}

export function drillCommand(): Command {
  return new Command("drill")
    .summary("try whether disks could be opened in an emergency")
    .description(
      "Asks the keystore for each disk's key and tries everything that would have to open the disk one day: the " +
        "passphrase, the newest copy of the LUKS header, recovery keyslots, escrow files. Reads only; guests may run.",
    )
    .argument("[guest...]", "name, UUID or VMID; all guests without it")
    .option("--identity <file>", "private key of a recipient of age, to open the escrow files too")
    .option("--json", "for machines")
    .action(drill);
}

async function drill(guests: readonly string[], { identity, json }: Options): Promise<void> {
  const container = open();
  const disks = await disksOf(guests, container);
  using identities = identity === undefined ? undefined : readIdentities(identity);
  const ports = {
    ...recoveryPorts(container),
    settings: container.resolve(SETTINGS),
    ...(identities && { identity: identities }),
  };
  const drills: DiskDrill[] = [];
  for (const disk of disks) {
    const done = await drillDisk(disk, ports);
    drills.push(done);
    if (!json) show(done);
  }
  if (json) printJson(validate, { disks: drills.map(machineReadable) } satisfies DrillOutput);
  else if (drills.length === 0) print("no disk with a LUKS header");
  if (drills.some(({ result }) => result === "failed")) process.exitCode = CATALOGUE.DRILL_FAILED.exit;
}

async function disksOf(names: readonly string[], container: Container): Promise<RecoverableDisk[]> {
  const host = container.resolve(HOST);
  const wanted = names.length > 0 ? names : (await host.listGuests()).map(({ id }) => id);
  const found: RecoverableDisk[] = [];
  for (const name of wanted) {
    try {
      found.push(...(await recoverableDisks(host, await host.readGuest(name))));
    } catch (thrown) {
      const { code } = asLuksmithError(thrown);
      // of all guests some have none, and a transient one has no configuration
      if (names.length > 0 || (code !== "DISK_NOT_ENCRYPTED" && code !== "GUEST_NOT_FOUND")) throw thrown;
    }
  }
  return found;
}

function show({ disk: { guest, disk, volume }, result, checks }: DiskDrill): void {
  print(`${guest.name} ${disk}: ${result} (${volumeName(volume)})`);
  for (const { name, result: of, detail, hint } of checks) {
    print(`  ${of.padEnd(7)}  ${name}: ${detail}`);
    if (hint !== undefined) print(`           ${hint}`);
  }
}

function machineReadable({
  disk: { guest, disk, volume, uuid },
  result,
  checks,
}: DiskDrill): DrillOutput["disks"][number] {
  return { guest: guest.name, disk, volume: volumeName(volume), uuid, result, checks: [...checks] };
}
