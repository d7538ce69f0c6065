import { existsSync } from "node:fs";
import { Command, Option } from "commander";
import { type ConvertPorts, convertDisk } from "../convert/convert-disk.js";
import { type ConvertTarget, gatherConvertFacts } from "../convert/gather-convert.js";
import { type ConvertPlan, planConvert } from "../convert/plan-convert.js";
import { removalOf } from "../convert/removal.js";
import { stagesOf, tasksOf } from "../convert/convert-tasks.js";
import type { Container } from "../di.js";
import type { DiskMapping } from "../disk-info/disk-info.js";
import type { EngineChoice } from "../encryption/encryption-providers.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { printable } from "../error/printable.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { ConfiguredGuest, Guest } from "../host/host-adapter.js";
import { newKeyUuid } from "../keystore/key-uuid.js";
import { KeySession } from "../plan/key-session.js";
import type { Resources } from "../plan/perform.js";
import { planOf, type Plan } from "../plan/step.js";
import type { EncryptionRequest } from "../request/ask.js";
import { resolveRequests } from "../request/resolve.js";
import type { EffectiveSettings } from "../settings/settings.js";
import { lvNameOf } from "../storage/lvm/lvm-name.js";
import type { PathVolume } from "../storage/volume.js";
import { VolumeLocks } from "../storage/volume-lock.js";
import { CLOCK, COMMAND_RUNNER, SETTINGS } from "../tokens.js";
import { changeGuest, resourcesOf } from "./change.js";
import { requireDisk } from "./guest-disk.js";
import { isDevice, isVolumePath } from "./new-disk.js";
import { open } from "./open.js";
import { print } from "./output.js";
import { WATCHER } from "./percent-progress.js";

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
  const runner = container.resolve(COMMAND_RUNNER);
  const settings = container.resolve(SETTINGS);
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
  using session = new KeySession();
  const request = requestFor(guest, dev, options, settings);
  const choice = options.engine ?? settings.encryption.engine;
  const question = { guest, disk, request, target: targetFor(guest, disk, options), choice };
  const facts = await gatherConvertFacts(question, { ...resources, runner }, session);
  const plan = planConvert(facts, { now: container.resolve(CLOCK).now(), newUuid: newKeyUuid });
  if (options.dryRun) {
    tasksOf(plan).forEach((task) => print(`would ${task}`));
  } else {
    const ports: ConvertPorts = {
      resources,
      session,
      runner,
      locks: new VolumeLocks(runner),
      watcher: WATCHER,
    };
    await convertDisk(plan, ports);
    print(ending(plan));
  }
  return planOf(...stagesOf(plan));
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
  const from = disk.volume.kind === "block" ? lvNameOf(disk.volume.path) : undefined;
  const more = pool === undefined ? {} : { pool };
  if (to !== undefined) return { volume: volumeAt(to), isNamed: true, ...more };
  if (from !== undefined) {
    const path = `/dev/${from.group}/${from.volume}-luks`;
    return { volume: { kind: "block", path, format: "raw" }, isNamed: false, ...more };
  }
  throw new LuksmithError("USAGE", {
    what: `cannot tell where disk ${disk.dev} of guest ${guest.name} is to be copied`,
    why: "it is no logical volume",
    hint: "say --to VOLUME",
  });
}

function volumeAt(path: string): PathVolume {
  if (!isVolumePath(path)) {
    throw new LuksmithError("USAGE", {
      what: `"${printable(path)}" names no volume`,
      hint: "it must be an absolute path, without . and ..",
    });
  }
  return { kind: isDevice(path) ? "block" : "file", path, format: "raw" };
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
function ending({ guest, disk, source, target, record }: ConvertPlan): string {
  const { uuid, annotation, lv } = source;
  const old = annotation.volume.path;
  return [
    `${guest.name}: ${disk} is ${target.volume.path} now, encrypted under key ${record.uuid}`,
    `${old} and its key ${uuid} are as they were`,
    ...removalOf(old, lv, uuid),
  ].join("\n");
}
