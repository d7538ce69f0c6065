import { LuksmithError } from "../error/luksmith-error.js";
import { shellWord } from "../error/shell-word.js";
import type { ConversionNotes } from "../convert/conversion-notes.js";
import { findMapping } from "../encryption/dm-crypt/kernel-mapping.js";
import type { Mappings } from "../encryption/encryption-provider.js";
import type { CommandRunner } from "../exec/command-runner.js";
import type { ConfiguredGuest, HostAdapter } from "../host/host-adapter.js";
import type { ConversionNote } from "../generated/conversion-note.js";
import type { KeyRecord } from "../generated/key-record.js";
import { findKeyUser } from "../plan/key-users.js";
import { findConfiguredUser, findUser, findVolumeUser } from "../plan/volume-users.js";
import { whyOnOtherHosts } from "../storage/lvm/other-hosts.js";
import { isUnderWay, newOwner } from "../rotate/rotation-note.js";
import { QCOW2_HEADER_AREA, readQcow2Header } from "../storage/qcow2/qcow2-header.js";
import { type Volume, volumeName } from "../storage/volume.js";
import { VolumeFile } from "../storage/volume-file.js";
import { filesOfKey } from "./key-files.js";
import type { ShredTarget } from "./shred-target.js";

const ENDING = "end that first: luksmith protect or unprotect";

export interface UseLookup {
  readonly host: HostAdapter;
  readonly mappings: Pick<Mappings, "claims">;
  readonly conversions: Pick<ConversionNotes, "naming" | "pathOf">;
  /** What the administrator says of snapshots that nobody here can see. */
  readonly snapshots: "gone" | "unknown";
  /** What the administrator says of other hosts that reach a block device, and that nobody here can see. */
  readonly otherHosts: "none" | "unknown";
  readonly runner: CommandRunner;
}

/**
 * Refuses to destroy what something on this host still needs, or what a guest of another host may have open where no
 * lock would tell.
 * @param guest of the disk, with its configuration as it is now; undefined for a volume that no guest is named for
 * @throws SHRED_REFUSED; what keeps a guest from being read
 */
export async function refuseUsed(
  target: ShredTarget,
  guest: ConfiguredGuest | undefined,
  lookup: UseLookup,
): Promise<void> {
  if (guest === undefined) await refuseConfigured(target, lookup);
  else await refuseOfGuest(target, guest, lookup);
  refuseMapped(target, lookup);
  await refuseConverted(target, lookup);
  if (target.volume.kind === "file" && target.volume.format === "qcow2")
    await refuseSnapshots(target, target.volume.path);
  if (target.volume.kind === "block" || target.volume.kind === "rbd") refuseUnseenSnapshots(target, lookup);
  await refuseOtherHosts(target, lookup);
}

/**
 * As refuseUsed, where the volume's header was destroyed and the volume is gone, or has something else: whoever has that
 * is no matter, as long as he has not the key. @throws SHRED_REFUSED; what keeps a guest from being read
 */
export async function refuseKeyUsed(
  target: ShredTarget,
  guest: ConfiguredGuest | undefined,
  { host }: Pick<UseLookup, "host">,
): Promise<void> {
  if (guest?.running === true) throw refused(target, "its guest runs", "shut it off first");
  for (const { id } of await host.listGuests()) {
    if (id === guest?.id) continue;
    const other = await host.readGuest(id);
    const has = Object.values(other.disks.mapping).find(
      ({ encryption_secret_uuid: own }) => own === target.key,
    );
    if (has === undefined) continue;
    throw refused(
      target,
      `disk ${has.dev} of guest ${other.name} has its key`,
      "take that disk out of its guest's configuration",
    );
  }
}

/** @throws SHRED_REFUSED while the key's passphrase or volume changes: that must be ended first */
export function refuseChanging(target: ShredTarget, records: readonly KeyRecord[], now: Date): void {
  for (const { rotation, conversion } of records) {
    // of one that nobody is at any more, all keyslots and passphrases are destroyed as well
    if (rotation !== undefined && isUnderWay(rotation, newOwner(), now))
      throw refused(
        target,
        `host ${rotation.host ?? "?"} has begun to change its passphrase`,
        "try again when that has ended, or 10 minutes after that host has died over it",
      );
    if (conversion !== undefined) throw refused(target, "its volume is being converted", ENDING);
  }
}

/** @param inPlace the directory where conversions in place note how far they are @throws SHRED_REFUSED */
export function refuseMovedInPlace(target: ShredTarget, inPlace: string): void {
  if (filesOfKey(inPlace, target.key).some((path) => path.endsWith(`/${target.key}.json`)))
    throw refused(target, "its conversion in place has begun and has not ended", ENDING);
}

/** What a copy was made of, or is made of, holds the disk's content as well: with another key, or in clear. */
async function refuseConverted(target: ShredTarget, lookup: UseLookup): Promise<void> {
  const name = volumeName(target.volume);
  const notes = lookup.conversions
    .naming(name)
    .filter(({ new: made, state }) => state === "copying" || made.path === name);
  if (notes.length === 0) return;
  const guests = new Set((await lookup.host.listGuests()).map(({ id }) => id));
  for (const note of notes) {
    const { guest, old, new: made, state } = note;
    if (!guests.has(guest.id)) throw leftByGoneGuest(target, note, lookup);
    if (state === "copying")
      throw refused(target, `a copy from ${old.path} to ${made.path} has begun and has not ended`, ENDING);
    throw refused(
      target,
      `volume ${old.path} still has, ${protectionOf(old)}, what the disk was copied from`,
      `remove that first: luksmith purge ${shellWord(guest.name)}`,
    );
  }
}

/**
 * Nobody ends the copy of a guest that is gone, nor purges. That its volume is not there proves nothing: a share that is
 * not mounted, or a disk that is away, looks the same. So a person must say so.
 */
function leftByGoneGuest(
  target: ShredTarget,
  note: ConversionNote,
  { conversions }: UseLookup,
): LuksmithError {
  const { guest, disk, old, new: made } = note;
  const other = old.path === volumeName(target.volume) ? made : old;
  return refused(
    target,
    `volume ${other.path} may still have, ${protectionOf(other)}, what disk ${disk} of guest ${guest.name} had`,
    `the guest is gone: once that volume is gone too, remove the note about it: rm ${shellWord(conversions.pathOf(note))}`,
  );
}

function protectionOf({ key }: ConversionNote["old"]): string {
  return key === undefined ? "in clear" : "with another key";
}

async function refuseConfigured(target: ShredTarget, { host }: UseLookup): Promise<void> {
  const nobody = { id: "", name: "", asks: [], tags: [], configuration: "" };
  const none = { ...nobody, disks: { disk_bus: "virtio", cdrom_bus: "sata", mapping: {} } } as const;
  const user =
    (await findKeyUser(host, target.key)) ??
    (await findConfiguredUser(host, none, wantedOf(target))) ??
    (await findVolumeUser(host, none, wantedOf(target)));
  if (user === undefined) return;
  throw refused(
    target,
    `disk ${user.disk} of guest ${user.guest} has it`,
    "name the guest and its disk, or take the disk out of its configuration first",
  );
}

async function refuseOfGuest(
  target: ShredTarget,
  guest: ConfiguredGuest,
  { host }: UseLookup,
): Promise<void> {
  if (guest.running) throw refused(target, "its guest runs", "shut it off first");
  if (guest.saved)
    throw refused(target, "the guest's memory was saved, with which it would go on", "discard that first");
  const disk = Object.values(guest.disks.mapping).find(({ dev }) => dev === target.disk);
  if (disk?.encryption_secret_uuid !== target.key)
    throw refused(target, "the guest's configuration has changed meanwhile", "look at it, and begin anew");
  if (disk.backingSecretUuids !== undefined)
    throw refused(
      target,
      "it is an overlay: a snapshot's volume lies under it",
      "delete the snapshots first",
    );
  if (disk.linkedClone === true)
    throw refused(
      target,
      "it is a linked clone, whose template has the same key",
      "destroy the template instead",
    );
  const wanted = { ...wantedOf(target), ...(disk.mapping !== undefined && { mapping: disk.mapping }) };
  const user = await findUser(host, guest, wanted);
  if (user === undefined) return;
  const what = user.by === "key" ? "has its key" : "has the same volume";
  throw refused(
    target,
    `disk ${user.disk} of guest ${user.guest} ${what}`,
    "take that disk out of its guest's configuration, or give it a key of its own: luksmith separate",
  );
}

function wantedOf({ key: uuid, volume, disk = "" }: ShredTarget) {
  return { dev: disk, volume, uuid };
}

/** One that a guest which crashed has left shows the volume in clear as well. */
function refuseMapped(target: ShredTarget, { mappings }: UseLookup): void {
  const open = mappings
    .claims()
    .find(({ uuid, name }) => uuid === target.key && findMapping(name) !== undefined);
  if (open !== undefined)
    throw refused(target, `mapping ${open.name} is open over it`, "close it: luksmith reap");
}

/**
 * All of a qcow2 image's internal snapshots have the image's one LUKS header. qemu-img would not say how many there are
 * of an image whose header an earlier call has destroyed.
 */
async function refuseSnapshots(target: ShredTarget, path: string): Promise<void> {
  await using file = await VolumeFile.open(path, "read");
  const image = readQcow2Header(await file.read(0, QCOW2_HEADER_AREA));
  if (image.kind !== "qcow2" || image.header.snapshots === 0) return;
  throw refused(
    target,
    `the image has ${image.header.snapshots} internal snapshots, which have its header too`,
    `delete them first: qemu-img snapshot -l ${path}`,
  );
}

/** On storage that makes snapshots below us, one of them has the header as it was. */
function refuseUnseenSnapshots(target: ShredTarget, { snapshots }: UseLookup): void {
  if (snapshots === "gone") return;
  throw refused(
    target,
    "snapshots and clones of it, which luksmith cannot see, have its header as it was",
    `${snapshotCommand(target.volume)}; once there are none: --snapshots-are-gone`,
  );
}

/** A guest that is shut off here may run there, and would notice at its next start. */
async function refuseOtherHosts(target: ShredTarget, { otherHosts, runner }: UseLookup): Promise<void> {
  const why = otherHosts === "none" ? undefined : await whyOnOtherHosts(target.volume, runner);
  if (why === undefined) return;
  throw refused(target, why, "look there; once no other host has it open: --only-this-host-uses-it");
}

function snapshotCommand(volume: Volume): string {
  if (volume.kind === "rbd") return `look for them: rbd snap ls ${volumeName(volume).replace("rbd:", "")}`;
  return "look for them: lvs -o +origin, or zfs list -t snapshot";
}

export function refused(target: ShredTarget, why: string, hint: string): LuksmithError {
  return new LuksmithError("SHRED_REFUSED", { what: `cannot shred ${nameOf(target)}`, why, hint });
}

/** `disk vda of guest web1, volume /images/web1.img`. */
export function nameOf({ guest, disk, volume }: ShredTarget): string {
  const of = guest === undefined || disk === undefined ? "" : `disk ${disk} of guest ${guest.name}, `;
  return `${of}volume ${volumeName(volume)}`;
}
