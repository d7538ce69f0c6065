import type { DiskMapping } from "../disk-info/disk-info.js";
import { legacyMappingName, mappingName } from "../encryption/dm-crypt/mapping-name.js";
import type { ProviderName } from "../encryption/encryption-provider.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { shellWord } from "../error/shell-word.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { ConfiguredGuest, DiskAnnotation, MappingAnnotation } from "../host/host-adapter.js";
import { keyUuidOf, newKeyRecord } from "../keystore/key-record.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { guestWord } from "../plan/commands.js";
import type { Step } from "../plan/step.js";
import { canAllocate, type StorageBackend } from "../storage/storage-backend.js";
import { isMappable, type PathVolume, volumeName } from "../storage/volume.js";
import { volumeExists } from "../storage/volume-error.js";
import type { LvName } from "../storage/lvm/lvm-name.js";
import { requireShutOff } from "./guest-meanwhile.js";
import type { ConvertFacts, ConvertTarget } from "./gather-convert.js";

/** What is to be done, as data without secrets. */
export interface ConvertPlan {
  readonly guest: ConfiguredGuest;
  readonly disk: string;
  readonly source: SourceVolume;
  readonly target: ConvertTarget;
  readonly backend: StorageBackend;
  readonly provider: ProviderName;
  /** Of the key for the new volume. */
  readonly record: KeyRecord;
  /** What is done to key and volume, each once at most: none of it after a try that had verified its copy. */
  readonly steps: {
    readonly store: Step | undefined;
    readonly format: Step | undefined;
    readonly activate: Step | undefined;
  };
  /**
   * `again` copies all, whatever an earlier try had copied. `not` after a try that was cut short when all was verified:
   * nothing is written to a volume that may have been used since.
   */
  readonly copy: "again" | "not";
  /** Whether the volume must be made. */
  readonly allocate: boolean;
  readonly annotation: DiskAnnotation;
}

/** The plain volume, which is only read. */
export interface SourceVolume {
  readonly uuid: KeyUuid;
  readonly annotation: MappingAnnotation;
  readonly record: KeyRecord;
  /** Undefined where it is no logical volume. */
  readonly lv: LvName | undefined;
}

export interface ConvertOptions {
  readonly now: Date;
  readonly newUuid: () => KeyUuid;
}

/** Pure. @throws what speaks against it: nothing was changed */
export function planConvert(facts: ConvertFacts, { now, newUuid }: ConvertOptions): ConvertPlan {
  const { guest, disk, request, target, backend, provider, probe, known } = facts;
  requireShutOff(guest);
  const source = sourceOf(facts);
  if (facts.snapshots > 0) throw hasSnapshots(facts);
  if (source.annotation.volume.path === target.volume.path) throw sameVolume(facts);
  refuseUser(facts);
  const allocate = probe.kind === "absent";
  requireUsable(facts, allocate);
  const keyed = { guest, disk: disk.dev, volume: volumeName(target.volume), request, now };
  const record = known?.record ?? newKeyRecord({ uuid: newUuid(), ...keyed });
  return {
    ...{ guest, disk: disk.dev, source, target, backend, provider: provider.name, record, allocate },
    steps: stepsOf(facts, record),
    copy: record.state === "pending" ? "again" : "not",
    annotation: annotationFor(target.volume, record, provider.name),
  };
}

function stepsOf(
  { disk, known, request, target, provider }: ConvertFacts,
  record: KeyRecord,
): ConvertPlan["steps"] {
  const keystore = known?.keystore ?? request.keystore;
  if (record.state === "active") return { store: undefined, format: undefined, activate: undefined };
  const by = provider.name === "dm-crypt" ? { provider: provider.name } : {};
  return {
    store: known === undefined ? { kind: "store-key", keystore, record } : undefined,
    format: { kind: "format", disk: disk.dev, volume: target.volume, record, ...by },
    activate: { kind: "activate-key", keystore, record },
  };
}

/** @throws DISK_NOT_ENCRYPTED, VOLUME_UNSUPPORTED, KEY_NOT_FOUND */
function sourceOf(facts: ConvertFacts): SourceVolume {
  const { guest, disk, key, lv } = facts;
  const { volume, mapping, encryption_format: format, encryption_secret_uuid: uuid } = disk;
  if (!disk.encrypted) {
    throw new LuksmithError("DISK_NOT_ENCRYPTED", {
      what: `${cannotConvert(guest, disk)}: it is not encrypted`,
      why: "only plain dm-crypt volumes are converted to LUKS",
      hint: "give the guest a new disk, protect that one, and copy the data inside the guest; for a volume that Nova encrypted, see luksmith adopt",
    });
  }
  if (format !== "plain" || mapping === undefined || uuid === undefined) {
    throw new LuksmithError("VOLUME_UNSUPPORTED", {
      what: `${cannotConvert(guest, disk)}: it is not a plain dm-crypt volume of luksmith's`,
      why: `it is ${format === undefined || format === "plain" ? "encrypted by somebody else" : `of format ${format}`}`,
    });
  }
  if (!isMappable(volume)) throw notOrdinary(facts);
  if (key.kind === "found") {
    const annotation = { format, secretUuid: uuid, mapping, volume };
    return { uuid, annotation, record: key.record, lv };
  }
  const what = `${cannotConvert(guest, disk)}: it needs key ${uuid}`;
  if (key.kind === "unavailable") throw key.error.within(what);
  throw new LuksmithError("KEY_NOT_FOUND", {
    what,
    why: "no keystore has it",
    hint: "restore the key record from a backup of the keystore; nothing was changed",
  });
}

/** @throws VOLUME_EXISTS, VOLUME_NOT_EMPTY, VOLUME_UNSUPPORTED, and what keeps it from being looked at */
function requireUsable(
  { guest, disk, target, backend, probe, known }: ConvertFacts,
  allocate: boolean,
): void {
  const { path } = target.volume;
  const what = `${cannotConvert(guest, disk)} into ${path}`;
  if (allocate && !canAllocate(backend)) {
    throw new LuksmithError("VOLUME_UNSUPPORTED", {
      what: `${what}: it does not exist`,
      why: `Luksmith cannot make volumes on storage ${backend.type}`,
      hint: "make it with the storage's own tools, 2 MiB larger than the disk, and say --to again",
    });
  }
  switch (probe.kind) {
    case "absent":
      return;
    case "unreadable":
      throw new LuksmithError("VOLUME_UNREADABLE", { what, why: probe.reason });
    case "luks":
      if (known !== undefined && belongsHere(guest, disk, target, known.record)) return;
      throw notEmpty(what, `it has LUKS UUID ${probe.header.uuid}, which is not that of an earlier try`);
    case "bad-luks":
      if (known !== undefined && probe.claimedUuid === known.record.uuid) return;
      throw notEmpty(what, `it has a LUKS header that cannot be used: ${probe.reason}`);
    case "data":
      throw notEmpty(what, `it holds ${probe.signature ?? "data"}`);
    case "empty":
    case "allocated":
      // the format step proves that it is empty; a name that nobody said may be somebody's all the same
      if (target.isNamed || known !== undefined) return;
      throw volumeExists(path).within(cannotConvert(guest, disk));
  }
}

function belongsHere(
  { id }: ConfiguredGuest,
  { dev }: DiskMapping,
  { volume }: ConvertTarget,
  record: KeyRecord,
): boolean {
  return record.guest.id === id && record.disk === dev && record.volume === volumeName(volume);
}

function annotationFor(volume: PathVolume, record: KeyRecord, provider: ProviderName): DiskAnnotation {
  const secretUuid = keyUuidOf(record);
  if (provider === "native") return { format: "luks", secretUuid, volume };
  const { format } = record.encryption;
  const mapping = format === "plain" ? legacyMappingName(volume) : mappingName(volume, secretUuid);
  return { format, secretUuid, mapping, volume };
}

function cannotConvert(guest: ConfiguredGuest, { dev }: DiskMapping): string {
  return `cannot convert disk ${dev} of guest ${guest.name}`;
}

function notEmpty(what: string, why: string): LuksmithError {
  return new LuksmithError("VOLUME_NOT_EMPTY", {
    what: `${what}: it is not empty`,
    why,
    hint: "say a new name with --to",
  });
}

/** @throws VOLUME_BUSY, KEY_IN_USE */
function refuseUser({ guest, disk, target, user, known }: ConvertFacts): void {
  if (user === undefined) return;
  const { path } = target.volume;
  const what = `${cannotConvert(guest, disk)} into ${path}: disk ${user.disk} of guest ${user.guest} has`;
  const hint = "say a new name with --to, or take that disk out of its guest's configuration first";
  switch (user.by) {
    case "volume":
      throw new LuksmithError("VOLUME_BUSY", { what: `${what} it`, hint });
    case "key":
      throw new LuksmithError("KEY_IN_USE", { what: `${what} its key ${known?.record.uuid ?? ""}`, hint });
  }
}

function notOrdinary({ guest, disk }: ConvertFacts): LuksmithError {
  return new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `${cannotConvert(guest, disk)}: it is plain dm-crypt, but no ordinary raw disk`,
    why: `the guest's configuration makes it a ${volumeName(disk.volume)}`,
    hint: `make it one, by virsh edit ${guestWord(guest)}: no <transient/>, device='disk', driver type='raw'`,
  });
}

function hasSnapshots({ guest, disk, snapshots, lv }: ConvertFacts): LuksmithError {
  return new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `${cannotConvert(guest, disk)}: its volume has ${snapshots === 1 ? "a snapshot" : `${snapshots} snapshots`}`,
    why: "they would stay plain dm-crypt, and belong to a volume that the guest does not use any more",
    hint: `remove them first; see: lvs -a ${shellWord(lv?.group ?? "")}`,
  });
}

function sameVolume({ guest, disk }: ConvertFacts): LuksmithError {
  return new LuksmithError("USAGE", {
    what: `${cannotConvert(guest, disk)} into itself`,
    why: "the old volume is kept until you remove it",
    hint: "say another volume with --to, or none",
  });
}
