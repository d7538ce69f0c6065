import { LuksmithError } from "../error/luksmith-error.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { Guest } from "../host/host-adapter.js";
import { wholeSectors } from "../storage/sectors.js";
import { volumeName } from "../storage/volume.js";
import { formatBytes } from "./bytes.js";
import { conversionCommand, guestWord, protectCommand } from "./commands.js";
import type { AnnotatedDisk, PlainDisk } from "./facts.js";
import type { DiskSizes, GrowFacts } from "./gather-grow.js";
import { requireHeaderOf } from "./volume-content.js";
import { planOf, type Plan } from "./step.js";
import { enlargingHint } from "./volume-hints.js";

/** How large a disk shall be in its guest. */
export type WantedSize =
  | { readonly kind: "total"; readonly bytes: bigint }
  /** More than the guest sees now. */
  | { readonly kind: "more"; readonly bytes: bigint }
  /** All that the volume has. */
  | { readonly kind: "all" };

/**
 * Enlarges one disk; an empty plan if its guest sees as much already. Only a disk with the LUKS header of a key of
 * ours is grown: of any other, it is not known where the guest's bytes begin. Pure.
 * @throws VOLUME_WOULD_SHRINK, DISK_NOT_ENCRYPTED, ENCRYPTION_BLOCK_FOREIGN, KEY_NOT_FOUND, and what else speaks
 *   against the volume
 */
export function planGrow(
  guest: Guest,
  { disk: fact, guest: state, sizes }: GrowFacts,
  wanted: WantedSize,
): Plan {
  const task = `cannot grow a disk of guest ${guest.name}`;
  if (fact.kind === "plain") throw notEncrypted(task, guest, fact);
  requireFormatted(task, guest, fact);
  refusePlainFormat(task, guest, fact);
  if (sizes === undefined) throw new Error("a volume with a LUKS header has a size");
  const to = goal(`${task}: disk ${fact.disk.dev}`, sizes, wanted);
  if (sizes.guest === to && sizes.volume === to) return planOf();
  if (state === "running") requireNoLibrbd(task, guest, fact);
  const { dev, volume, mapping } = fact.disk;
  const [from, size] = [Number(sizes.guest), Number(to)];
  const open = state === "running" && mapping !== undefined ? { mapping } : {};
  return planOf([
    { kind: "grow", disk: dev, volume, uuid: fact.uuid, guest: state, ...open, from, to: size },
  ]);
}

/** Never less than the guest or the volume has; a storage that rounds up may have more than what was asked for once. */
function goal(disk: string, { guest, volume, extent }: DiskSizes, wanted: WantedSize): bigint {
  const reached = guest > volume ? guest : volume;
  if (wanted.kind === "all") return reached;
  const asked = wholeSectors(wanted.kind === "more" ? guest + wanted.bytes : wanted.bytes);
  if (asked > reached) return asked;
  if (asked > reached - extent) return reached;
  const why = guest === reached ? "its guest sees" : "its volume has been enlarged, and its guest can see";
  throw new LuksmithError("VOLUME_WOULD_SHRINK", {
    what: `${disk} would not get larger`,
    why: `${why} ${formatBytes(reached)}, and ${formatBytes(asked)} were asked for`,
    hint: guest === reached ? "say a larger size" : "say a larger size, or none to give the guest all of it",
  });
}

/** @throws whatever speaks against it, if the volume does not have the LUKS header of a key of ours */
function requireFormatted(task: string, guest: Guest, fact: AnnotatedDisk): void {
  const { disk, key, probe, uuid } = fact;
  switch (key.kind) {
    case "unavailable":
      throw key.error.within(`${task}: disk ${disk.dev} has key ${uuid}`);
    case "unknown":
      throw new LuksmithError("KEY_NOT_FOUND", {
        what: `${task}: the encryption block of disk ${disk.dev} is not ours`,
        why: `it names key ${uuid}, which no keystore has`,
        hint: "if Luksmith encrypted the disk, bring back its key; if not, resize it with what did",
      });
    case "found":
      if (key.record.encryption.format === "plain") return;
      refuseConversion(task, guest, fact, key.record);
      if (key.record.state === "active" || probe?.kind === "luks") requireHeaderOf(guest, fact, task);
      else throw notFormatted(task, fact);
  }
}

/** What is half encrypted has the size that its conversion has given it. */
function refuseConversion(task: string, guest: Guest, { disk }: AnnotatedDisk, record: KeyRecord): void {
  if (record.conversion === undefined) return;
  throw new LuksmithError("CONVERSION_UNFINISHED", {
    what: `${task}: a conversion in place of disk ${disk.dev} has begun, and has not ended`,
    why: `that began at ${record.conversion.startedAt}`,
    hint: `let it end first: ${conversionCommand(guest, disk.dev, record.conversion.to)}`,
  });
}

/** Without a header, a volume does not tell whether it still is the one that was encrypted. */
function refusePlainFormat(task: string, guest: Guest, { disk, key }: AnnotatedDisk): void {
  if (key.kind !== "found" || key.record.encryption.format !== "plain") return;
  throw new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `${task}: disk ${disk.dev} is encrypted as plain dm-crypt, which is deprecated`,
    why: "only a disk with a LUKS header is grown",
    hint: `convert it first: luksmith convert ${guestWord(guest)} ${disk.dev}`,
  });
}

/** QEMU tells librbd the size of the image and not that of its payload, and the two may count differently one day. */
function requireNoLibrbd(task: string, guest: Guest, { disk }: AnnotatedDisk): void {
  if (disk.encryption_options?.["engine"] !== "librbd") return;
  throw new LuksmithError("GUEST_RUNNING", {
    what: `${task}: disk ${disk.dev} cannot grow while the guest runs`,
    why: "librbd decrypts it, and cannot be told the size that the guest shall see",
    hint: `shut the guest down first: virsh shutdown ${guestWord(guest)}`,
  });
}

function notFormatted(task: string, { disk }: AnnotatedDisk): LuksmithError {
  return new LuksmithError("DISK_NOT_ENCRYPTED", {
    what: `${task}: disk ${disk.dev} is not formatted yet`,
    why: "its guest's next start formats it, at the size that its volume has then",
    hint: enlargingHint(disk.volume),
  });
}

function notEncrypted(task: string, guest: Guest, { disk, luks }: PlainDisk): LuksmithError {
  const { dev, volume, encrypted } = disk;
  if (encrypted) {
    return new LuksmithError("ENCRYPTION_BLOCK_FOREIGN", {
      what: `${task}: the encryption block of disk ${dev} is not ours`,
      why: "it names no secret by UUID",
      hint: "resize the disk with what encrypted it",
    });
  }
  if (luks?.key.kind === "found") {
    return new LuksmithError("ENCRYPTION_BLOCK_LOST", {
      what: `${task}: disk ${dev} is encrypted, but its encryption block is gone from the guest's configuration`,
      why: `${volumeName(volume)} has the LUKS header of key ${luks.uuid}`,
      hint: `put the block back: ${protectCommand(guest, [dev])}`,
    });
  }
  return new LuksmithError("DISK_NOT_ENCRYPTED", {
    what: `${task}: disk ${dev} is not encrypted`,
    why: "it needs no help of Luksmith",
    hint: `while the guest is shut off, ${enlargingHint(volume)}`,
  });
}
