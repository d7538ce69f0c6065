import type { EncryptionFormat } from "../encryption/luks-spec.js";
import type { LuksHeader } from "../encryption/luks-header.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { shellWord } from "../error/shell-word.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { Guest } from "../host/host-adapter.js";
import type { Probe } from "../storage/storage-backend.js";
import { volumeName } from "../storage/volume.js";
import { cannotStart } from "./cannot-start.js";
import { guestWord, separationCommand } from "./commands.js";
import type { AnnotatedDisk } from "./facts.js";

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
    what: `${cannotStart(guest)}: disk ${disk.dev} names key ${uuid}, which was made for another volume`,
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
    what: `${cannotStart(guest)}: disk ${disk.dev} has a LUKS header that is not as Luksmith made it`,
    why: `${volumeName(disk.volume)} says ${found}, and its key's record ${recorded}`,
    hint: `find out who changed it; nothing was changed; to bring back a copy: ${restoreCommand(guest, { disk })}`,
  });
}

/** The guest's configuration says another format than the key's record does. */
export function formatDiffers(
  guest: Guest,
  { disk, uuid }: AnnotatedDisk,
  format: EncryptionFormat,
): LuksmithError {
  return new LuksmithError("REQUEST_CONFLICT", {
    what: `${cannotStart(guest)}: disk ${disk.dev} is annotated as ${disk.encryption_format ?? "unknown"}`,
    why: `its key ${uuid} is of a volume of format ${format}`,
    hint: "put the annotation right with virsh edit, or take it out and run luksmith protect",
  });
}

/** A disk that names a key, with what its volume holds. */
type ProbedDisk = Pick<AnnotatedDisk, "disk" | "uuid" | "key" | "probe">;

/** @throws whatever is wrong, if the volume of an active key does not have that key's LUKS header */
export function requireHeaderOf(guest: Guest, fact: ProbedDisk, task?: string): void {
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
  fact: ProbedDisk,
  probe: Probe | undefined,
  task = cannotStart(guest),
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
        hint: `nothing was changed; to bring back a copy: ${restoreCommand(guest, fact)}`,
      });
    case "luks":
      return new LuksmithError("LUKS_UUID_MISMATCH", {
        what: `${start} names key ${fact.uuid}, but its volume belongs to another key`,
        why: `${volume} has LUKS UUID ${probe.header.uuid}`,
        hint: otherKeyHint(guest, fact.disk.dev),
      });
    case "data":
      if (isActive(fact)) return headerGone({ start, guest, volume }, fact);
      return new LuksmithError("VOLUME_NOT_EMPTY", {
        what: `${start} cannot be formatted: it is not empty`,
        why: `${volume} holds ${probe.signature ?? "data"}`,
        hint: "only new, empty disks are formatted: move the data to a new disk that is protected first",
      });
    case undefined:
    case "empty":
    case "allocated":
      return headerGone({ start, guest, volume }, fact);
  }
}

/** What to do about a volume that has the header of another key than its disk names. */
export function otherKeyHint(guest: Guest, dev: string): string {
  const hint = "check that the disk points at the right volume";
  if (guest.encryptedStorages !== undefined) return hint;
  return `${hint}; if it is a copy that was being separated: ${separationCommand(guest, dev)}`;
}

function isActive({ key }: ProbedDisk): boolean {
  return key.kind === "found" && key.record.state === "active";
}

function headerGone(
  { start, guest, volume }: { readonly start: string; readonly guest: Guest; readonly volume: string },
  fact: ProbedDisk,
): LuksmithError {
  return new LuksmithError("VOLUME_NOT_FORMATTED", {
    what: `${start} has lost its LUKS header`,
    why: `key ${fact.uuid} is in use since ${fact.key.kind === "found" ? fact.key.record.createdAt : "an earlier start"}, but ${volume} has no LUKS header`,
    hint: `nothing was changed; if the disk points at the right volume, bring back a copy of its header: ${restoreCommand(guest, fact)}`,
  });
}

function restoreCommand(guest: Guest, { disk }: Pick<AnnotatedDisk, "disk">): string {
  return `luksmith header restore ${guestWord(guest)} ${shellWord(disk.dev)}`;
}
