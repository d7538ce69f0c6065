import { LuksmithError } from "../error/luksmith-error.js";
import type { LuksHeader } from "../encryption/luks-header.js";
import type { EncryptionFormat } from "../encryption/luks-spec.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { DiskMapping } from "../disk-info/disk-info.js";
import type { Guest } from "../host/host-adapter.js";
import type { Probe } from "../storage/storage-backend.js";
import { type Volume, volumeName } from "../storage/volume.js";
import type { EncryptionRequest } from "../request/ask.js";
import { adoptCommand, protectCommand } from "./commands.js";
import type { AnnotatedDisk, PlainDisk } from "./facts.js";
import { refuseSharedKey } from "./key-ownership.js";

/**
 * Before any I/O: a disk that must be encrypted and has no usable encryption block, one whose block
 * means something else, or two disks with one key.
 * @throws DISK_NOT_ENCRYPTED, REQUEST_CONFLICT, GUEST_CONFIG_INVALID
 */
export function refuseUnannotated(guest: Guest, requests: ReadonlyMap<string, EncryptionRequest>): void {
  const disks = Object.values(guest.disks.mapping);
  const bare = disks.filter((disk) => requests.has(disk.dev) && disk.encryption_secret_uuid === undefined);
  const [first] = bare;
  if (first !== undefined) {
    const names = bare.map((disk) => disk.dev);
    const isOverlay = bare.some(({ backingSecretUuids }) => backingSecretUuids !== undefined);
    throw new LuksmithError("DISK_NOT_ENCRYPTED", {
      what: `cannot start guest ${guest.name}: disk ${names.join(", ")} must be encrypted and is not`,
      why: `asked for by ${requests.get(first.dev)?.askedBy.join(" and ") ?? "the settings"}`,
      hint: isOverlay ? overlayHint(guest, names) : hintFor(guest, bare),
    });
  }
  const asked = disks.filter(({ dev }) => requests.has(dev));
  for (const disk of asked) requireUsableAnnotation(guest, disk);
  const wanted = new Set(asked.map((disk) => disk.encryption_secret_uuid));
  refuseSharedKey(
    `cannot start guest ${guest.name}`,
    disks.flatMap(({ dev, encryption_secret_uuid: uuid }) =>
      uuid !== undefined && wanted.has(uuid) ? [{ disk: dev, uuid }] : [],
    ),
  );
}

/** What another program encrypted as Nova did needs its key, and no new one. */
function hintFor(guest: Guest, bare: readonly DiskMapping[]): string {
  const adoptions = bare.map((disk) => ({ dev: disk.dev, adopt: adoptCommand(guest, disk) }));
  const [adoption] = adoptions.filter(({ adopt }) => adopt !== undefined);
  const names = adoptions.filter(({ adopt }) => adopt === undefined).map(({ dev }) => dev);
  const protect = protectCommand(guest, names);
  if (adoption?.adopt === undefined) return protect;
  const taking = `disk ${adoption.dev} names a mapping as Nova makes them: ${adoption.adopt}`;
  return names.length === 0 ? taking : `${taking}; for the others: ${protect}`;
}

function overlayHint(guest: Guest, disks: readonly string[]): string {
  const protect = protectCommand(guest, disks);
  return `if nothing was written to it yet: ${protect}; else merge it into the encrypted volume, or go back to that: docs/libvirt.md, after an external snapshot`;
}

/** A mapping is ours; a block must mean what we make: LUKS version 1 that QEMU itself opens, or librbd in an RBD image. */
function requireUsableAnnotation(
  guest: Guest,
  { dev, volume, mapping, encryption_format, encryption_options }: DiskMapping,
): void {
  if (mapping !== undefined) return;
  const engine = encryption_options?.["engine"] ?? "qemu";
  const isKnown = engine === "qemu" || (engine === "librbd" && volume.kind === "rbd");
  if (encryption_format === "luks" && isKnown) return;
  throw new LuksmithError("REQUEST_CONFLICT", {
    what: `cannot start guest ${guest.name}: disk ${dev} must be encrypted as luks by QEMU`,
    why: `its encryption block says format ${encryption_format ?? "unknown"}, engine ${engine}`,
    hint: "change the block to format='luks' without an engine, or take the request away",
  });
}

/**
 * A volume with a LUKS header of ours whose disk has lost its encryption block: the guest would see ciphertext, take
 * it for an empty disk and write over it. @throws ENCRYPTION_BLOCK_LOST; the keystore's error where it cannot say
 * whether the header is ours
 */
export function refuseLostBlock(guest: Guest, { disk, luks }: PlainDisk): void {
  if (luks === undefined || luks.key.kind === "unknown") return;
  if (luks.key.kind === "unavailable") {
    throw luks.key.error.within(
      `cannot start guest ${guest.name}: disk ${disk.dev} has no encryption block, but LUKS UUID ${luks.uuid} on its volume`,
    );
  }
  throw new LuksmithError("ENCRYPTION_BLOCK_LOST", {
    what: `cannot start guest ${guest.name}: disk ${disk.dev} is encrypted, but its encryption block is gone from the guest's configuration`,
    why: `${volumeName(disk.volume)} has the LUKS header of key ${luks.uuid}, and the guest would overwrite it`,
    hint: putBack(guest, disk, luks.volume),
  });
}

function putBack(guest: Guest, { dev, volume }: DiskMapping, actual: Volume): string {
  const command = protectCommand(guest, [dev]);
  if (volume.kind !== "file" || actual.kind !== "file" || volume.format === actual.format)
    return `put the block back: ${command}`;
  return `the image is ${actual.format}: say type='${actual.format}' in the disk's <driver> with virsh edit, then put the block back: ${command}`;
}

/**
 * A snapshot's file over an encrypted volume of ours: whatever the guest writes would go there in plaintext.
 * @throws OVERLAY_NOT_ENCRYPTED; the keystore's error where it cannot say whether that volume is ours
 */
export function refusePlainOverlay(guest: Guest, { disk, overlaid }: PlainDisk): void {
  if (overlaid === undefined || overlaid.kind === "unknown") return;
  if (overlaid.kind === "unavailable") {
    throw overlaid.error.within(
      `cannot start guest ${guest.name}: disk ${disk.dev} lies over an encrypted volume and is not encrypted itself`,
    );
  }
  throw new LuksmithError("OVERLAY_NOT_ENCRYPTED", {
    what: `cannot start guest ${guest.name}: disk ${disk.dev} would write in plaintext`,
    why: `${volumeName(disk.volume)} lies over the encrypted volume of key ${overlaid.record.uuid}, as an external snapshot makes it`,
    hint: overlayHint(guest, [disk.dev]),
  });
}

/**
 * A plain volume has no header that could be looked for: it must be there under the name that the key was made for,
 * and not have been formatted since. Opened with another volume's key, it would look like an empty disk.
 * @throws whatever is wrong with the volume of an active key
 */
export function requireContentOf(guest: Guest, fact: AnnotatedDisk, { encryption, volume }: KeyRecord): void {
  const { probe } = fact;
  if (encryption.format !== "plain") {
    requireHeaderOf(guest, fact);
    if (probe?.kind === "luks") requireSpecOf(guest, fact, probe.header, encryption);
    return;
  }
  if (!canBePlain(probe)) throw volumeProblem(guest, fact, probe);
  if (volume !== volumeName(fact.disk.volume)) throw otherPlainVolume(guest, fact, volume);
}

/** All that a volume without a header can tell. */
export function canBePlain(probe: Probe | undefined): boolean {
  return probe?.kind === "data" || probe?.kind === "allocated" || probe?.kind === "empty";
}

function otherPlainVolume(guest: Guest, { disk, uuid }: AnnotatedDisk, recorded: string): LuksmithError {
  return new LuksmithError("KEY_IN_USE", {
    what: `cannot start guest ${guest.name}: disk ${disk.dev} names key ${uuid}, which was made for another volume`,
    why: `the key's record says ${recorded}, and the disk has ${volumeName(disk.volume)}; a plain volume does not tell its key, and a wrong one would destroy it`,
    hint: "point the disk at the right volume, or rename the volume back",
  });
}

/**
 * Whoever can write to the volume can replace what its header says of the payload, and the passphrase still opens it:
 * the guest would write under another cipher than its key was made for. @throws LUKS_HEADER_INVALID
 */
function requireSpecOf(
  guest: Guest,
  { disk }: AnnotatedDisk,
  header: LuksHeader,
  { format, cipher, keySize }: KeyRecord["encryption"],
): void {
  const found = `LUKS version ${header.version}, ${header.cipher}, ${header.keySize} bits`;
  const recorded = `LUKS version ${format === "luksv2" ? 2 : 1}, ${cipher}, ${keySize} bits`;
  if (found === recorded) return;
  throw new LuksmithError("LUKS_HEADER_INVALID", {
    what: `cannot start guest ${guest.name}: disk ${disk.dev} has a LUKS header that is not as Luksmith made it`,
    why: `${volumeName(disk.volume)} says ${found}, and its key's record ${recorded}`,
    hint: "find out who changed it, and restore the header from a backup; nothing was changed",
  });
}

/** The guest's configuration says another format than the key's record does. */
export function formatDiffers(
  guest: Guest,
  { disk, uuid }: AnnotatedDisk,
  format: EncryptionFormat,
): LuksmithError {
  return new LuksmithError("REQUEST_CONFLICT", {
    what: `cannot start guest ${guest.name}: disk ${disk.dev} is annotated as ${disk.encryption_format ?? "unknown"}`,
    why: `its key ${uuid} is of a volume of format ${format}`,
    hint: "put the annotation right with virsh edit, or take it out and run luksmith protect",
  });
}

/** @throws whatever is wrong, if the volume of an active key does not have that key's LUKS header */
export function requireHeaderOf(guest: Guest, fact: AnnotatedDisk, task?: string): void {
  const { probe, uuid } = fact;
  if (probe?.kind === "luks" && probe.header.uuid === uuid) return;
  throw volumeProblem(guest, fact, probe, task);
}

/**
 * Why a disk cannot be used, from what its volume was found to hold.
 * @param task what cannot be done, naming the guest
 */
export function volumeProblem(
  guest: Guest,
  fact: AnnotatedDisk,
  probe: Probe | undefined,
  task = `cannot start guest ${guest.name}`,
): LuksmithError {
  const volume = volumeName(fact.disk.volume);
  const start = `${task}: disk ${fact.disk.dev}`;
  switch (probe?.kind) {
    case "absent":
      return new LuksmithError("VOLUME_NOT_FOUND", {
        what: `${start} has no volume`,
        why: `${volume} does not exist`,
        hint: "check that its storage is mounted",
      });
    case "unreadable":
      return new LuksmithError("VOLUME_UNREADABLE", { what: `${start} cannot be read`, why: probe.reason });
    case "bad-luks":
      return new LuksmithError("LUKS_HEADER_INVALID", {
        what: `${start} has a LUKS header that cannot be used`,
        why: `${volume}: ${probe.reason}`,
        hint: "restore the header from a backup; nothing was changed",
      });
    case "luks":
      return new LuksmithError("LUKS_UUID_MISMATCH", {
        what: `${start} names key ${fact.uuid}, but its volume belongs to another key`,
        why: `${volume} has LUKS UUID ${probe.header.uuid}`,
        hint: "check that the disk points at the right volume",
      });
    case "data":
      if (isActive(fact)) return headerGone(start, fact, volume);
      return new LuksmithError("VOLUME_NOT_EMPTY", {
        what: `${start} cannot be formatted: it is not empty`,
        why: `${volume} holds ${probe.signature ?? "data"}`,
        hint: "only new, empty disks are formatted: move the data to a new disk that is protected first",
      });
    case undefined:
    case "empty":
    case "allocated":
      return headerGone(start, fact, volume);
  }
}

function isActive({ key }: AnnotatedDisk): boolean {
  return key.kind === "found" && key.record.state === "active";
}

function headerGone(start: string, fact: AnnotatedDisk, volume: string): LuksmithError {
  return new LuksmithError("VOLUME_NOT_FORMATTED", {
    what: `${start} has lost its LUKS header`,
    why: `key ${fact.uuid} is in use since ${fact.key.kind === "found" ? fact.key.record.createdAt : "an earlier start"}, but ${volume} has no LUKS header`,
    hint: "check that the disk points at the right volume, else restore it from a backup; nothing was changed",
  });
}
