import type { DiskMapping } from "../disk-info/disk-info.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { shellWord } from "../error/shell-word.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { ConfiguredGuest, DiskAnnotation } from "../host/host-adapter.js";
import { conversionCommand, guestWord } from "../plan/commands.js";
import { requireHeaderOf } from "../plan/volume-content.js";
import type { LvName } from "../storage/lvm/lvm-name.js";
import { isMappable, type PathVolume, volumeName } from "../storage/volume.js";
import type { ConvertFacts } from "./gather-convert.js";

/** The volume that the disk has, which is only read. */
export interface SourceVolume {
  readonly volume: PathVolume;
  /** What opens it: undefined for one that is not encrypted. */
  readonly key: SourceKey | undefined;
  /** Undefined where it is no logical volume. */
  readonly lv: LvName | undefined;
}

interface SourceKey {
  readonly annotation: DiskAnnotation;
  readonly record: KeyRecord;
}

/**
 * Pure.
 * @throws VOLUME_UNSUPPORTED, KEY_NOT_FOUND, DISK_NOT_ENCRYPTED, LUKS_UUID_MISMATCH, and what keeps a keystore or the
 *   volume from answering
 */
export function sourceOf(facts: ConvertFacts): SourceVolume {
  const { disk, shape, request } = facts;
  const { volume } = disk;
  if (disk.encrypted) {
    const source = { key: keyOf(facts), volume: pathVolumeOf(facts), lv: shape.lv };
    requireOwnHeader(facts, source.key);
    return source;
  }
  if (request === undefined) {
    throw new LuksmithError("DISK_NOT_ENCRYPTED", { what: `${cannotConvert(facts)}: it is not encrypted` });
  }
  if (volume.kind === "none") {
    throw new LuksmithError("VOLUME_UNSUPPORTED", { what: `${cannotConvert(facts)}: it is an empty drive` });
  }
  return { volume: pathVolumeOf(facts), key: undefined, lv: shape.lv };
}

/** What of the volume a copy would lose, or could not be made of. @throws VOLUME_UNSUPPORTED */
export function refuseShape(facts: ConvertFacts): void {
  const { shape, disk, target } = facts;
  const path = volumeName(disk.volume);
  if (shape.snapshots > 0) throw hasSnapshots(facts);
  if (shape.externalData) {
    throw new LuksmithError("VOLUME_UNSUPPORTED", {
      what: `${cannotConvert(facts)}: ${path} has its data in another file`,
      hint: `make it an image of its own first: qemu-img convert -O qcow2 ${shellWord(path)} NEW`,
    });
  }
  if (disk.backingSecretUuids !== undefined && disk.backingSecretUuids.length > 0) {
    throw new LuksmithError("VOLUME_UNSUPPORTED", {
      what: `${cannotConvert(facts)}: it is an overlay over an encrypted image`,
      hint: "merge the two first: virsh blockcommit or virsh blockpull, while the guest runs",
    });
  }
  if (shape.overlay === "of an unknown format") {
    throw new LuksmithError("VOLUME_UNSUPPORTED", {
      what: `${cannotConvert(facts)}: ${path} is an overlay that does not say of what format its base is`,
      why: "the format would be guessed from what a guest may have written",
      hint: "say it: qemu-img rebase -u -F FORMAT -b BASE",
    });
  }
  if (shape.overlay !== undefined && !target.isNamed) {
    throw new LuksmithError("VOLUME_UNSUPPORTED", {
      what: `${cannotConvert(facts)}: ${path} is an overlay, which shares data with its base`,
      why: "the new volume would have all of them as its own, and be as large as both",
      hint: "if that is what you want, say --to VOLUME",
    });
  }
}

function keyOf(facts: ConvertFacts): SourceKey {
  const { disk, key } = facts;
  const { mapping, encryption_format: format, encryption_secret_uuid: secretUuid, volume } = disk;
  const isOurs = secretUuid !== undefined && (mapping !== undefined || format === "luks");
  if (!isOurs || format === undefined) {
    throw new LuksmithError("VOLUME_UNSUPPORTED", {
      what: `${cannotConvert(facts)}: it is not encrypted by luksmith`,
      why: `it is ${format === undefined || secretUuid === undefined ? "encrypted by somebody else" : `of format ${format}, without a mapping of luksmith's`}`,
    });
  }
  if (mapping !== undefined && !isMappable(volume)) throw notOrdinary(facts);
  switch (key.kind) {
    case "found":
      break;
    case "unavailable":
      throw key.error.within(`${cannotConvert(facts)}: it needs key ${secretUuid}`);
    case "unknown":
      throw new LuksmithError("KEY_NOT_FOUND", {
        what: `${cannotConvert(facts)}: it needs key ${secretUuid}`,
        why: "no keystore has it",
        hint: "restore the key record from a backup of the keystore; nothing was changed",
      });
  }
  requireWhole(facts, key.record);
  const { record } = key;
  if (mapping !== undefined && isMappable(volume))
    return { annotation: { format, secretUuid, mapping, volume }, record };
  const path = pathVolumeOf(facts);
  if (disk.encryption_options?.["engine"] === "librbd") throw new Error("librbd decrypts no path");
  return { annotation: { format: "luks", secretUuid, volume: path }, record };
}

/** @throws CONVERSION_UNFINISHED, VOLUME_UNSUPPORTED */
function requireWhole(facts: ConvertFacts, record: KeyRecord): void {
  const { guest, disk } = facts;
  if (record.conversion !== undefined) {
    throw new LuksmithError("CONVERSION_UNFINISHED", {
      what: `${cannotConvert(facts)}: a conversion in place has begun, and has not ended`,
      why: `that began at ${record.conversion.startedAt}`,
      hint: `let it end first: ${conversionCommand(guest, disk.dev, record.conversion.to)}`,
    });
  }
  if (record.state === "active" || record.encryption.format === "plain") return;
  throw new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `${cannotConvert(facts)}: its volume was not formatted yet`,
    why: `its key ${record.uuid} is pending until the guest's next start`,
    hint: "start the guest first, or run: luksmith protect --now",
  });
}

/**
 * A copy whose separation was cut short opens with the key that it was copied with, and is to have another.
 * @throws LUKS_UUID_MISMATCH, and what else is wrong with its header
 */
function requireOwnHeader(facts: ConvertFacts, { annotation, record }: SourceKey): void {
  if (record.encryption.format === "plain") return;
  const { guest, disk, key, source: probe } = facts;
  requireHeaderOf(guest, { disk, uuid: annotation.secretUuid, key, probe }, cannotConvert(facts));
}

function pathVolumeOf(facts: ConvertFacts): PathVolume {
  const { volume } = facts.disk;
  const isImage = volume.kind === "file" && (volume.format === "raw" || volume.format === "qcow2");
  if (isImage || (volume.kind === "block" && volume.format === "raw")) return volume;
  if (facts.disk.mapping !== undefined) throw notOrdinary(facts);
  throw new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `${cannotConvert(facts)}: it is on ${volumeName(volume)}`,
    why: "only image files (raw, qcow2) and raw block devices are copied",
    hint: "give the guest a new disk, protect that one, and copy the data inside the guest",
  });
}

export function cannotConvert({
  guest,
  disk,
}: {
  readonly guest: Pick<ConfiguredGuest, "name">;
  readonly disk: Pick<DiskMapping, "dev">;
}): string {
  return `cannot convert disk ${disk.dev} of guest ${guest.name}`;
}

function notOrdinary({ guest, disk }: ConvertFacts): LuksmithError {
  return new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `${cannotConvert({ guest, disk })}: it is plain dm-crypt, but no ordinary raw disk`,
    why: `the guest's configuration makes it a ${volumeName(disk.volume)}`,
    hint: `make it one, by virsh edit ${guestWord(guest)}: no <transient/>, device='disk', driver type='raw'`,
  });
}

function hasSnapshots(facts: ConvertFacts): LuksmithError {
  const { snapshots, lv } = facts.shape;
  const path = shellWord(volumeName(facts.disk.volume));
  return new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `${cannotConvert(facts)}: its volume has ${snapshots === 1 ? "a snapshot" : `${snapshots} snapshots`}`,
    why: "they would stay as they are, and belong to a volume that the guest does not use any more: the new one has none",
    hint: `remove them first; see: ${lv === undefined ? `qemu-img snapshot -l ${path}` : `lvs -a ${shellWord(lv.group)}`}`,
  });
}
