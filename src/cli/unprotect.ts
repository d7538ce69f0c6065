import { Command } from "commander";
import type { Container } from "../di.js";
import type { DiskMapping } from "../disk-info/disk-info.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { printable } from "../error/printable.js";
import type { ConfiguredGuest } from "../host/host-adapter.js";
import { withFittingLegacy } from "../plan/fitting-legacy.js";
import { type Plan, planOf } from "../plan/step.js";
import { resolveRequests } from "../request/resolve.js";
import { holdsGuestData } from "../request/guest-data.js";
import { HOST, SETTINGS, STORAGE } from "../tokens.js";
import { changeGuest } from "./change.js";
import { confirm } from "./confirm.js";
import { type ConversionOptions, withConversionOptions } from "./conversion-options.js";
import { convertDisks } from "./convert-disks.js";
import { requireDisk } from "./guest-disk.js";
import { open } from "./open.js";
import { print } from "./output.js";
import { tellUnchanged } from "./tell-converted.js";
import { unfinishedOnline } from "./unfinished-online.js";

interface Options extends ConversionOptions {
  readonly disk?: readonly string[];
  readonly yes?: true;
}

export function unprotectCommand(): Command {
  const command = new Command("unprotect")
    .summary("decrypt a guest's disks")
    .description(
      "Copies encrypted disks into new volumes that are not encrypted, verifies every byte, and gives them to the " +
        "guest. The old volumes and their keys stay as they were. With --in-place, they are decrypted where they are.",
    )
    .argument("<guest>", "name or UUID")
    .option("--disk <device>", "only this disk; may be repeated", (dev, devs?: string[]) => [
      ...(devs ?? []),
      dev,
    ]);
  return withConversionOptions(command)
    .option("--yes", "do not ask")
    .option("--dry-run", "say what would be done, change nothing")
    .action(unprotect);
}

async function unprotect(name: string, options: Options): Promise<void> {
  const container = open();
  if (!options.yes && !options.dryRun) await ask(container, name, options);
  await changeGuest(container, {
    command: "unprotect",
    guest: name,
    manner: options.dryRun ? "dry-run" : "apply",
    output: options.json ? "json" : "text",
    work: (nameOrId) => unprotectGuest(container, nameOrId, options),
  });
}

/** Before the guest's lock is taken: whoever is asked may take his time. What was cut short was asked when it began. */
async function ask(container: Container, name: string, options: Options): Promise<void> {
  const guest = await container.resolve(HOST).readGuest(name);
  const devices: string[] = [];
  for (const disk of encryptedDisks(guest, options))
    if (!options.inPlace || !(await isBegun(container, guest, disk))) devices.push(disk.dev);
  if (devices.length === 0) return;
  const task = `make the data of ${devices.join(", ")} of ${printable(guest.name)} readable without a key`;
  await confirm(task, guest.name);
}

async function unprotectGuest(container: Container, nameOrId: string, options: Options): Promise<Plan> {
  const guest = await container.resolve(HOST).readGuest(nameOrId);
  const disks = [...encryptedDisks(guest, options), ...(await almostPlainDisks(container, guest, options))];
  if (disks.length === 0) {
    if (!options.json) print(`${guest.name}: no disk is encrypted`);
    else tellUnchanged(guest, meantDisks(guest, options).filter(holdsGuestData), "not encrypted", options);
    return planOf();
  }
  await refuseAsked(container, guest, disks);
  const goals = disks.map((disk) => ({ disk, goal: { to: "plain" as const } }));
  return await convertDisks(container, guest, goals, options);
}

/** Those that are meant and are encrypted. */
function encryptedDisks(guest: ConfiguredGuest, options: Options): DiskMapping[] {
  return meantDisks(guest, options).filter(({ encrypted }) => encrypted);
}

/** Those whose decryption was cut short when all that was left was to say so, or to take the old host secret away. */
async function almostPlainDisks(
  container: Container,
  guest: ConfiguredGuest,
  options: Options,
): Promise<DiskMapping[]> {
  if (!options.inPlace) {
    const left = await unfinishedOnline(container, guest, "plain");
    return meantDisks(guest, options).filter(({ dev }) => left.has(dev));
  }
  const disks: DiskMapping[] = [];
  for (const disk of meantDisks(guest, options))
    if (!disk.encrypted && holdsGuestData(disk) && (await isBegun(container, guest, disk))) disks.push(disk);
  return disks;
}

function meantDisks(guest: ConfiguredGuest, { disk: chosen = [] }: Options): DiskMapping[] {
  return chosen.length > 0
    ? [...new Set(chosen)].map((dev) => requireDisk(guest, dev))
    : Object.values(guest.disks.mapping);
}

/** In place. */
async function isBegun(container: Container, guest: ConfiguredGuest, disk: DiskMapping): Promise<boolean> {
  const { unfinishedInPlace } = await import("../convert/in-place/convert-in-place.js");
  return (await unfinishedInPlace(container, { guest, disk, to: "plain" })) === "plain";
}

/** A start would be refused, or the disk encrypted again. @throws REQUEST_CONFLICT */
async function refuseAsked(
  container: Container,
  guest: ConfiguredGuest,
  disks: readonly DiskMapping[],
): Promise<void> {
  const resolved = resolveRequests(guest, container.resolve(SETTINGS));
  const requests = await withFittingLegacy(guest, resolved, container.resolve(STORAGE));
  for (const { dev } of disks) {
    const request = requests.get(dev);
    if (request === undefined) continue;
    throw new LuksmithError("REQUEST_CONFLICT", {
      what: `cannot decrypt disk ${dev} of guest ${guest.name}: it is to be encrypted`,
      why: `asked for by ${request.askedBy.join(" and ")}`,
      hint: "take that wish away first",
    });
  }
}
