import { LuksmithError } from "../error/luksmith-error.js";
import type { DiskMapping } from "../disk-info/disk-info.js";
import type { Guest } from "../host/host-adapter.js";
import { type Volume, volumeName } from "../storage/volume.js";
import type { EncryptionRequest } from "../request/ask.js";
import { cannotStart } from "./cannot-start.js";
import { adoptCommand, conversionCommand, protectCommand, renameCommand } from "./commands.js";
import type { PlainDisk } from "./facts.js";
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
    refuseUnseen(guest, bare, requests);
    const names = bare.map((disk) => disk.dev);
    const isOverlay = bare.some(({ backingSecretUuids }) => backingSecretUuids !== undefined);
    throw new LuksmithError("DISK_NOT_ENCRYPTED", {
      what: `${cannotStart(guest)}: disk ${names.join(", ")} must be encrypted and is not`,
      why: `asked for by ${requests.get(first.dev)?.askedBy.join(" and ") ?? "the settings"}`,
      hint: isOverlay ? overlayHint(guest, names) : hintFor(guest, bare),
    });
  }
  const asked = disks.filter(({ dev }) => requests.has(dev));
  for (const disk of asked) requireUsableAnnotation(guest, disk);
  const wanted = new Set(asked.map((disk) => disk.encryption_secret_uuid));
  refuseSharedKey(
    cannotStart(guest),
    disks.flatMap((disk) => {
      const { dev, encryption_secret_uuid: uuid } = disk;
      return uuid !== undefined && wanted.has(uuid) ? [{ disk: dev, uuid, of: disk }] : [];
    }),
  );
}

/** Proxmox VE lets a guest have arguments for QEMU, which can give it any disk: nobody can tell what is on that. */
function refuseUnseen(
  guest: Guest,
  bare: readonly DiskMapping[],
  requests: ReadonlyMap<string, EncryptionRequest>,
): void {
  const unseen = bare.find(({ volume }) => volume.kind === "other" && volume.pathUnknown);
  if (unseen === undefined || guest.encryptedStorages === undefined) return;
  throw new LuksmithError("DISK_NOT_ENCRYPTED", {
    what: `${cannotStart(guest)}: it has a disk that Luksmith cannot see, ${volumeName(unseen.volume)}, and its disks must be encrypted`,
    why: `asked for by ${requests.get(unseen.dev)?.askedBy.join(" and ") ?? "the settings"}`,
    hint: `take the disk out of args (qm set ${guest.id} --delete args, or with other arguments), and give it to the guest on encrypted storage: qm set ${guest.id} --scsi1 ${guest.encryptedStorages[0] ?? "STORAGE"}:SIZE (in GiB)`,
  });
}

/** What another program encrypted as Nova did needs its key, and no new one. */
function hintFor(guest: Guest, bare: readonly DiskMapping[]): string {
  if (guest.encryptedStorages !== undefined)
    return protectCommand(
      guest,
      bare.map(({ dev }) => dev),
    );
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
    what: `${cannotStart(guest)}: disk ${dev} must be encrypted as luks by QEMU`,
    why: `its encryption block says format ${encryption_format ?? "unknown"}, engine ${engine}`,
    hint: "change the block to format='luks' without an engine, or take the request away",
  });
}

/**
 * A disk that the configuration has as a plain one while its volume is only half of that: the guest would write where
 * the conversion has moved something else. @throws CONVERSION_UNFINISHED
 */
export function refuseMoved(guest: Guest, { disk, moved }: PlainDisk): void {
  if (moved === undefined) return;
  const verb = moved.to === "encrypted" ? "encrypted" : "decrypted";
  throw new LuksmithError("CONVERSION_UNFINISHED", {
    what: `${cannotStart(guest)}: the volume of disk ${disk.dev} is being ${verb} in place, and the configuration has it as a plain disk`,
    why: `${volumeName(disk.volume)} is not all plaintext: key ${moved.uuid} is that of disk ${moved.disk} of guest ${moved.guest.name}`,
    hint: `go on with: ${conversionCommand(moved.guest, moved.disk, moved.to)}`,
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
      `${cannotStart(guest)}: disk ${disk.dev} has no encryption block, but LUKS UUID ${luks.uuid} on its volume`,
    );
  }
  const isByStorage = guest.encryptedStorages !== undefined;
  throw new LuksmithError("ENCRYPTION_BLOCK_LOST", {
    what: `${cannotStart(guest)}: disk ${disk.dev} is encrypted, but ${isByStorage ? "the guest has it as a plain disk" : "its encryption block is gone from the guest's configuration"}`,
    why: `${volumeName(disk.volume)} has the LUKS header of key ${luks.uuid}, and the guest would overwrite it`,
    hint: putBack(guest, disk, luks.volume),
  });
}

function putBack(guest: Guest, { dev, volume, looksEncrypted }: DiskMapping, actual: Volume): string {
  if (guest.encryptedStorages !== undefined)
    return `give the guest the volume by its encrypted storage: ${renameCommand(guest, dev, actual, looksEncrypted?.named)}`;
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
      `${cannotStart(guest)}: disk ${disk.dev} lies over an encrypted volume and is not encrypted itself`,
    );
  }
  throw new LuksmithError("OVERLAY_NOT_ENCRYPTED", {
    what: `${cannotStart(guest)}: disk ${disk.dev} would write in plaintext`,
    why: `${volumeName(disk.volume)} lies over the encrypted volume of key ${overlaid.record.uuid}, as an external snapshot makes it`,
    hint: overlayHint(guest, [disk.dev]),
  });
}
