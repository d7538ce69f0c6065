import { existsSync } from "node:fs";
import { Command, Option } from "commander";
import { convertByCopy } from "../convert/convert-by-copy.js";
import { defaultTarget } from "../convert/default-target.js";
import type { ConvertTarget } from "../convert/gather-convert.js";
import { removalOf } from "../convert/removal.js";
import type { Container } from "../di.js";
import type { DiskMapping } from "../disk-info/disk-info.js";
import type { EngineChoice } from "../encryption/encryption-providers.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { ConfiguredGuest, Guest } from "../host/host-adapter.js";
import { protectCommand } from "../plan/commands.js";
import type { Resources } from "../plan/perform.js";
import { planOf, type Plan } from "../plan/step.js";
import type { EncryptionRequest } from "../request/ask.js";
import { resolveRequests } from "../request/resolve.js";
import type { EffectiveSettings } from "../settings/settings.js";
import { lvNameOf } from "../storage/lvm/lvm-name.js";
import { volumeName } from "../storage/volume.js";
import { SETTINGS } from "../tokens.js";
import { changeGuest } from "./change.js";
import { resourcesOf } from "../plan/resources.js";
import { volumeAt } from "./conversion-options.js";
import { requireDisk } from "./guest-disk.js";
import { open } from "./open.js";
import { print } from "./output.js";
import { DRY_WATCHER, WATCHER } from "./percent-progress.js";

interface Options {
  readonly to?: string;
  readonly pool?: string;
  readonly profile?: string;
  readonly engine?: EngineChoice;
  readonly dryRun?: true;
}

export function convertCommand(): Command {
  return new Command("convert")
    .summary("copy a plain dm-crypt disk to a LUKS volume")
    .description(
      "Copies a disk that legacy plain dm-crypt encrypts into a new LUKS volume with a key of its own, verifies every " +
        "byte, and gives it to the guest. The old volume and its key stay as they were.",
    )
    .argument("<guest>", "name or UUID; it must be shut off")
    .argument("<disk>", "its device name: vda")
    .option("--to <volume>", "absolute path of the new volume; an empty one that is there is used")
    .option("--pool <name>", "thin pool that a new logical volume is made from")
    .option("--profile <name>", "profile in the settings")
    .addOption(
      new Option("--engine <engine>", "who decrypts; the settings' encryption.engine without it").choices([
        "auto",
        "native",
        "dm-crypt",
      ] satisfies EngineChoice[]),
    )
    .option("--dry-run", "say what would be done, change nothing")
    .action(convert);
}

async function convert(name: string, dev: string, options: Options): Promise<void> {
  const container = open();
  await changeGuest(container, {
    command: "convert",
    guest: name,
    manner: options.dryRun ? "dry-run" : "apply",
    work: (nameOrId) => convertOne(container, nameOrId, dev, options),
  });
}

async function convertOne(
  container: Container,
  nameOrId: string,
  dev: string,
  options: Options,
): Promise<Plan> {
  const resources = resourcesOf(container);
  const guest = await resources.host.readGuest(nameOrId);
  const disk = requireDisk(guest, dev);
  if (isConverted(disk)) {
    print(`${guest.name}: ${dev} is ${disk.encryption_format === "luks" ? "LUKS" : "LUKS2"} already`);
    for (const old of await oldVolumes(guest, dev, resources)) {
      const when = "once the guest has all its data, and if nobody else has that volume:";
      const removal = removalOf(old.volume, lvNameOf(old.volume), old.uuid, when);
      print([`the old volume is still there: ${old.volume}, with key ${old.uuid}`, ...removal].join("\n"));
    }
    return planOf();
  }
  if (!disk.encrypted) throw notEncrypted(guest, dev);
  const settings = container.resolve(SETTINGS);
  const request = requestFor(guest, dev, options, settings);
  const engine = options.engine ?? settings.encryption.engine;
  const watcher = options.dryRun ? DRY_WATCHER : WATCHER;
  const plan = await convertByCopy(container, {
    ...{ guest, disk, watcher },
    goal: { to: "encrypted", request, engine },
    target: targetFor(guest, disk, options),
    manner: options.dryRun ? "dry-run" : "apply",
  });
  if (!options.dryRun) {
    const after = requireDisk(await resources.host.readGuest(nameOrId), dev);
    print(ending(guest, disk, after));
  }
  return plan;
}

function notEncrypted(guest: ConfiguredGuest, dev: string): LuksmithError {
  return new LuksmithError("DISK_NOT_ENCRYPTED", {
    what: `cannot convert disk ${dev} of guest ${guest.name}: it is not encrypted`,
    why: "only plain dm-crypt volumes are converted to LUKS by this command",
    hint: `encrypt it: ${protectCommand(guest, [dev])} --convert; for a volume that Nova encrypted, see luksmith adopt`,
  });
}

function isConverted({ encryption_format: format, encryption_secret_uuid: uuid }: DiskMapping): boolean {
  return uuid !== undefined && (format === "luks" || format === "luksv2");
}

/** The command speaks as one more voice; that it is LUKS is what the command is for. @throws REQUEST_CONFLICT */
function requestFor(
  guest: Guest,
  dev: string,
  { profile }: Options,
  settings: EffectiveSettings,
): EncryptionRequest {
  const source = "luksmith convert";
  const ask = { source, enabled: true, disks: [dev], ...(profile === undefined ? {} : { profile }) };
  const request = resolveRequests({ ...guest, asks: [...guest.asks, ask] }, settings).get(dev);
  if (request === undefined) throw new Error("a disk that is asked for has a request");
  if (request.format !== "plain") return request;
  throw new LuksmithError("REQUEST_CONFLICT", {
    what: `cannot convert disk ${dev} of guest ${guest.name}: its format is to be plain`,
    why: `asked for by ${request.askedBy.filter((who) => who !== source).join(" and ")}`,
    hint: "take that wish away first",
  });
}

/** @throws USAGE */
function targetFor(guest: ConfiguredGuest, disk: DiskMapping, { to, pool }: Options): ConvertTarget {
  const more = pool === undefined ? {} : { pool };
  if (to !== undefined) return { volume: volumeAt(to, disk.volume), isNamed: true, ...more };
  if (disk.volume.kind !== "block" || lvNameOf(disk.volume.path) === undefined) {
    throw new LuksmithError("USAGE", {
      what: `cannot tell where disk ${disk.dev} of guest ${guest.name} is to be copied`,
      why: "it is no logical volume",
      hint: "say --to VOLUME",
    });
  }
  return { volume: defaultTarget(disk, "encrypted"), isNamed: false, ...more };
}

/** What a conversion of this disk has left, where the keystores tell. */
async function oldVolumes({ id }: Guest, dev: string, { keyring }: Resources): Promise<KeyRecord[]> {
  const query = { guestId: id };
  const keystores = await keyring.all();
  const found = await Promise.allSettled(keystores.map((keystore) => keystore.find(query)));
  return found
    .flatMap((answer) => (answer.status === "fulfilled" ? answer.value : []))
    .filter(({ disk, encryption }) => disk === dev && encryption.format === "plain")
    .filter(({ volume }) => existsSync(volume));
}

/** The old volume is the administrator's to remove, once he has seen the guest run. */
function ending(guest: ConfiguredGuest, before: DiskMapping, after: DiskMapping): string {
  const old = volumeName(before.volume);
  const uuid = before.encryption_secret_uuid ?? "";
  return [
    `${guest.name}: ${before.dev} is ${volumeName(after.volume)} now, encrypted under key ${after.encryption_secret_uuid ?? ""}`,
    `${old} and its key ${uuid} are as they were`,
    ...removalOf(old, lvNameOf(old), uuid),
  ].join("\n");
}
