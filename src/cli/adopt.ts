import { Command, Option } from "commander";
import { type KeyForm, readNovaKey } from "../adopt/nova-key.js";
import { findSpec, requireLogicalVolume, requireNovasMapping } from "../adopt/novas-volume.js";
import type { Container } from "../di.js";
import type { DiskMapping } from "../disk-info/disk-info.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { printable } from "../error/printable.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { ConfiguredGuest, MappingAnnotation } from "../host/host-adapter.js";
import { keyUuidOf, newKeyRecord } from "../keystore/key-record.js";
import { type KeyUuid, newKeyUuid } from "../keystore/key-uuid.js";
import type { Keystore } from "../keystore/keystore.js";
import { guestWord } from "../plan/commands.js";
import type { Resources } from "../plan/perform.js";
import { type AnnotatedKey, planOf, type Plan, type Step } from "../plan/step.js";
import type { Secret } from "../secret/secret.js";
import { DEFAULT_PROFILE, type EffectiveSettings, profileNamed } from "../settings/settings.js";
import type { PathVolume } from "../storage/volume.js";
import { CLOCK, SETTINGS } from "../tokens.js";
import { changeGuest } from "./change.js";
import { resourcesOf } from "../plan/resources.js";
import { requireDisk } from "./guest-disk.js";
import { open } from "./open.js";
import { print } from "./output.js";

interface Options {
  readonly volume: string;
  readonly keyFile: string;
  readonly keyForm: KeyForm;
  readonly keystore?: string;
  readonly unverified?: true;
  readonly dryRun?: true;
}

export function adoptCommand(): Command {
  return new Command("adopt")
    .summary("take over a disk that OpenStack Nova encrypted")
    .description(
      "Takes over a logical volume that Nova's [ephemeral_storage_encryption] encrypted as plain dm-crypt: stores its " +
        "key and annotates the guest. Nothing is written to the volume.",
    )
    .argument("<guest>", "name or UUID; it must be shut off")
    .argument("<disk>", "its device name: vda")
    .requiredOption("--volume <path>", "the encrypted logical volume: /dev/GROUP/NAME")
    .requiredOption("--key-file <file>", "what Nova pipes into cryptsetup; for root alone")
    .addOption(
      new Option(
        "--key-form <form>",
        "hex: digits, as Nova pipes them; raw: bytes, as its key manager has them",
      )
        .choices(["hex", "raw"] satisfies KeyForm[])
        .default("hex"),
    )
    .option("--keystore <name>", "keystore for the key; the default profile's without it")
    .option("--unverified", "take the key though nothing known is found in what it decrypts")
    .option("--dry-run", "say what would be done, change nothing")
    .action(adopt);
}

async function adopt(name: string, dev: string, options: Options): Promise<void> {
  const container = open();
  await changeGuest(container, {
    command: "adopt",
    guest: name,
    manner: options.dryRun ? "dry-run" : "apply",
    work: (nameOrId) => adoptDisk(container, nameOrId, dev, options),
  });
}

async function adoptDisk(
  container: Container,
  nameOrId: string,
  dev: string,
  options: Options,
): Promise<Plan> {
  const resources = resourcesOf(container);
  const settings = container.resolve(SETTINGS);
  using passphrase = readNovaKey(options.keyFile, options.keyForm);
  const guest = await resources.host.readGuest(nameOrId);
  const disk = requireDisk(guest, dev);
  const volume = volumeAt(options.volume);
  if (await isAdopted(disk, volume, passphrase, resources)) {
    print(`${guest.name}: ${dev} is adopted already`);
    return planOf();
  }
  requireShutOff(guest);
  const proof = options.unverified ? "waived" : "wanted";
  const { annotation, replaced } = requireNovasMapping(guest, disk, volume, proof);
  await requireLogicalVolume(volume, resources.storage);
  const { spec, content } = await findSpec(volume, passphrase, settings.legacy, proof);
  if (content !== undefined)
    print(
      `${volume.path} decrypts to a disk with ${content} (${spec.cipher}, ${spec.keySize} bits, ${spec.hash})`,
    );
  const keystoreName = options.keystore ?? profileNamed(settings, DEFAULT_PROFILE).keystore;
  const keystore = await resources.keyring.get(keystoreName);
  const known = await storedKey(guest, disk, volume, passphrase, keystore);
  const now = container.resolve(CLOCK).now();
  const request = { ...spec, disk: dev, profile: DEFAULT_PROFILE, keystore: keystoreName, askedBy: [] };
  const newRecord = { uuid: newKeyUuid(), guest, disk: dev, volume: volume.path, request, now };
  const record: KeyRecord = known ?? { ...newKeyRecord(newRecord), state: "active" };
  const uuid = keyUuidOf(record);
  const block = annotatedWith(annotation, dev, uuid);
  const steps: Step[][] = [
    known === undefined ? [{ kind: "store-key", keystore: keystoreName, record }] : [],
    [
      {
        ...{ kind: "annotate", blocks: [block] },
        ...(replaced && { replaced: [annotatedWith(annotation, dev, replaced)] }),
      },
    ],
  ];
  if (options.dryRun) {
    if (known === undefined) print(`would store Nova's key as ${uuid} in keystore ${keystoreName}`);
    print(
      `would write into the guest's configuration that disk ${dev} is ${volume.path} under key ${uuid}${inPlaceOf(replaced)}`,
    );
    return planOf(...steps);
  }
  // killed between the two, a further call finds the key and goes on
  if (known === undefined) await keystore.store({ record, passphrase });
  const under = (key: KeyUuid) => new Map([[dev, { ...annotation, secretUuid: key }]]);
  await resources.host.annotate(guest, under(uuid), replaced && under(replaced));
  print(`${guest.name}: ${dev} is ${volume.path} under key ${uuid}${inPlaceOf(replaced)}`);
  print(ending(guest, dev, settings));
  return planOf(...steps);
}

function annotatedWith(
  { mapping: name, format, volume }: Omit<MappingAnnotation, "secretUuid">,
  disk: string,
  uuid: KeyUuid,
): AnnotatedKey {
  return { disk, uuid, mapping: { name, format, volume } };
}

function inPlaceOf(replaced: KeyUuid | undefined): string {
  return replaced === undefined ? "" : `, in place of key ${replaced}, which stays in its keystore`;
}

/** A volume that is active is at this path; links to it are another's way to name it. @throws USAGE */
function volumeAt(path: string): PathVolume & { readonly kind: "block" } {
  if (/^\/dev\/[^\p{Cc}]+$/u.test(path)) return { kind: "block", path, format: "raw" };
  throw new LuksmithError("USAGE", {
    what: `"${printable(path)}" names no logical volume`,
    hint: "say /dev/GROUP/NAME",
  });
}

async function isAdopted(
  { mapping, volume: under, encryption_secret_uuid: uuid }: DiskMapping,
  volume: PathVolume,
  passphrase: Secret,
  { keyring }: Resources,
): Promise<boolean> {
  const isAnnotated = mapping !== undefined && under.kind === "block" && under.path === volume.path;
  if (!isAnnotated || uuid === undefined) return false;
  const located = await keyring.locate(uuid);
  if (located.kind !== "found") return false;
  using stored = located.key.passphrase;
  return stored.equals(passphrase);
}

function requireShutOff({ running, saved, ...guest }: ConfiguredGuest): void {
  if (!running && !saved) return;
  throw new LuksmithError("GUEST_RUNNING", {
    what: `cannot adopt a disk of guest ${guest.name}: it ${running ? "is running" : "was saved while it was running"}`,
    why: "it has the volume open by Nova's mapping",
    hint: `${running ? "shut it down" : "start it and shut it down"} first: virsh ${running ? "shutdown" : "start"} ${guestWord(guest)}`,
  });
}

/** Of a try that was killed before the guest was annotated. */
async function storedKey(
  { id: guestId }: ConfiguredGuest,
  { dev }: DiskMapping,
  { path: volume }: PathVolume,
  passphrase: Secret,
  keystore: Keystore,
): Promise<KeyRecord | undefined> {
  for (const record of await keystore.find({ guestId, volume, state: "active" })) {
    if (record.disk !== dev || record.encryption.format !== "plain") continue;
    const key = await keystore.fetch(keyUuidOf(record));
    using stored = key?.passphrase;
    if (stored?.equals(passphrase)) return record;
  }
  return undefined;
}

function ending(guest: ConfiguredGuest, dev: string, { legacy }: EffectiveSettings): string {
  const convert = `luksmith convert ${guestWord(guest)} ${dev}`;
  if (legacy.enabled) return `plain dm-crypt is deprecated; convert the disk to LUKS: ${convert}`;
  return `it starts only with legacy.enabled in the settings, or once it is converted to LUKS: ${convert}`;
}
