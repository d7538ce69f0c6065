import type { DiskMapping } from "../disk-info/disk-info.js";
import { legacyMappingName, mappingName } from "../encryption/dm-crypt/mapping-name.js";
import type { ProviderName } from "../encryption/encryption-provider.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { ConfiguredGuest, DiskAnnotation } from "../host/host-adapter.js";
import { keyUuidOf, newKeyRecord } from "../keystore/key-record.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { Step } from "../plan/step.js";
import { canAllocate, type StorageBackend } from "../storage/storage-backend.js";
import { type PathVolume, volumeName } from "../storage/volume.js";
import { volumeExists } from "../storage/volume-error.js";
import { requireShutOff } from "./guest-meanwhile.js";
import type { ConvertFacts, ConvertTarget } from "./gather-convert.js";
import { refuseTargetUser } from "./refuse-target-user.js";
import { cannotConvert, refuseShape, sourceOf, type SourceVolume } from "./source-volume.js";

/** What is to be done, as data without secrets. */
export interface ConvertPlan {
  readonly guest: ConfiguredGuest;
  readonly disk: string;
  readonly source: SourceVolume;
  readonly target: ConvertTarget;
  readonly backend: StorageBackend;
  /** How the new volume is opened; undefined where it is to be plain. */
  readonly key: TargetKey | undefined;
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
  /** Whether a plain volume that is there is used only if it proves to be empty. */
  readonly prove: boolean;
  /** Whether the source shows what another image has. */
  readonly isOverlay: boolean;
}

export interface TargetKey {
  readonly provider: ProviderName;
  readonly record: KeyRecord;
  readonly annotation: DiskAnnotation;
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
  refuseShape(facts);
  if (source.volume.path === target.volume.path) throw sameVolume(facts);
  if (source.volume.format !== target.volume.format) throw otherFormat(facts);
  const { user, known: of } = facts;
  refuseTargetUser(cannotConvert(facts), { user, path: target.volume.path, key: of?.record.uuid });
  const allocate = probe.kind === "absent";
  requireUsable(facts, allocate);
  const isOverlay = facts.shape.overlay !== undefined;
  const common = { guest, disk: disk.dev, source, target, backend, allocate, isOverlay };
  if (request === undefined || provider === undefined) {
    const { state, target: made } = facts.noted ?? {};
    return {
      ...common,
      key: undefined,
      steps: { store: undefined, format: undefined, activate: undefined },
      copy: state === "verified" && !allocate ? "not" : "again",
      prove: !allocate && made !== "made",
    };
  }
  const keyed = { guest, disk: disk.dev, volume: volumeName(target.volume), request, now };
  const record = known?.record ?? newKeyRecord({ uuid: newUuid(), ...keyed });
  return {
    ...common,
    key: {
      provider: provider.name,
      record,
      annotation: annotationFor(target.volume, record, provider.name),
    },
    steps: stepsOf(facts, record, provider.name),
    copy: record.state === "pending" ? "again" : "not",
    prove: false,
  };
}

function stepsOf(
  { disk, known, request, target }: ConvertFacts,
  record: KeyRecord,
  provider: ProviderName,
): ConvertPlan["steps"] {
  const keystore = known?.keystore ?? request?.keystore ?? "";
  if (record.state === "active") return { store: undefined, format: undefined, activate: undefined };
  const by = provider === "dm-crypt" ? { provider } : {};
  return {
    store: known === undefined ? { kind: "store-key", keystore, record } : undefined,
    format: { kind: "format", disk: disk.dev, volume: target.volume, record, ...by },
    activate: { kind: "activate-key", keystore, record },
  };
}

/** @throws VOLUME_EXISTS, VOLUME_NOT_EMPTY, VOLUME_UNSUPPORTED, and what keeps it from being looked at */
function requireUsable(facts: ConvertFacts, allocate: boolean): void {
  const { guest, disk, target, backend, probe, known, noted } = facts;
  const { path } = target.volume;
  const what = `${cannotConvert(facts)} into ${path}`;
  if (allocate && !canAllocate(backend)) {
    throw new LuksmithError("VOLUME_UNSUPPORTED", {
      what: `${what}: it does not exist`,
      why: `Luksmith cannot make volumes on storage ${backend.type}`,
      hint: "make it with the storage's own tools, 2 MiB larger than the disk, and say --to again",
    });
  }
  if (probe.kind === "absent") return;
  if (probe.kind === "unreadable") throw new LuksmithError("VOLUME_UNREADABLE", { what, why: probe.reason });
  // a plain volume that an earlier try has made may hold anything of the disk, a LUKS header in it as well
  if (facts.request === undefined && noted?.target === "made") return;
  switch (probe.kind) {
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
      if (target.isNamed || known !== undefined || noted !== undefined) return;
      throw volumeExists(path).within(cannotConvert(facts));
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

function notEmpty(what: string, why: string): LuksmithError {
  return new LuksmithError("VOLUME_NOT_EMPTY", {
    what: `${what}: it is not empty`,
    why,
    hint: "say a new name with --to",
  });
}

function sameVolume(facts: ConvertFacts): LuksmithError {
  return new LuksmithError("USAGE", {
    what: `${cannotConvert(facts)} into itself`,
    why: "the old volume is kept until you remove it",
    hint: "say another volume with --to, or none",
  });
}

/** What the guest's configuration says of the format is not changed. */
function otherFormat(facts: ConvertFacts): LuksmithError {
  const { disk, target } = facts;
  return new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `${cannotConvert(facts)} into ${target.volume.path}: it would be of another image format`,
    why: `${volumeName(disk.volume)} is ${"format" in disk.volume ? disk.volume.format : "other"}, and the new volume would be ${target.volume.format}`,
    hint: "say an image file with --to, or none",
  });
}
