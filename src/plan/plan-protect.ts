import type { DiskMapping } from "../disk-info/disk-info.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { Guest } from "../host/host-adapter.js";
import { keyUuidOf, newKeyRecord } from "../keystore/key-record.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { legacyMappingName, mappingName } from "../encryption/dm-crypt/mapping-name.js";
import type { Probe } from "../storage/storage-backend.js";
import { isMappable, volumeName } from "../storage/volume.js";
import { annotationNow } from "./annotation.js";
import { protectCommand } from "./commands.js";
import type { ProtectFacts } from "./gather-protect.js";
import { belongsTo, isRecorded, keyInUse, refuseSharedKey, refuseSharedMapping } from "./key-ownership.js";
import { canBePlain } from "./volume-content.js";
import { type AnnotatedKey, planOf, type Plan, type Step } from "./step.js";
import { creationHint } from "./volume-hints.js";

export interface ProtectOptions {
  /** When the disks are formatted: by `protect` itself, or by the pre-start hook of the guest's next start. */
  readonly format: "now" | "at-next-start";
  readonly now: Date;
  readonly newUuid: () => KeyUuid;
}

interface ProtectedDisk {
  readonly disk: string;
  readonly uuid: KeyUuid;
  /** As the disk is to be annotated, and as it is now. */
  readonly annotation: AnnotatedKey;
  readonly annotated: AnnotatedKey | undefined;
  readonly store: readonly Step[];
  readonly format: readonly Step[];
  readonly activate: readonly Step[];
}

/**
 * Keys first, then the guest's configuration, then the volumes: killed after any step, a further `protect` or the
 * guest's next start goes on from there. Pure. @throws VOLUME_NOT_EMPTY and what else speaks against a disk
 */
export function planProtect(guest: Guest, facts: readonly ProtectFacts[], options: ProtectOptions): Plan {
  const disks = facts.map((fact) => protectDisk(guest, fact, options));
  const task = `cannot protect guest ${guest.name}`;
  refuseSharedKey(task, [...disks, ...otherKeys(guest, facts)]);
  refuseSharedMapping(task, [...disks.map(({ annotation }) => annotation), ...otherKeys(guest, facts)]);
  const changed = disks.filter(({ annotation, annotated }) => !isSameAnnotation(annotation, annotated));
  const blocks = changed.map(({ annotation }) => annotation);
  const replaced = changed.flatMap(({ annotated }) => annotated ?? []);
  const annotating: Step[] =
    blocks.length === 0 ? [] : [{ kind: "annotate", blocks, ...(replaced.length === 0 ? {} : { replaced }) }];
  return planOf(
    disks.flatMap(({ store }) => store),
    annotating,
    disks.flatMap(({ format }) => format),
    disks.flatMap(({ activate }) => activate),
  );
}

/** Of the disks that are not protected now. */
function otherKeys(guest: Guest, facts: readonly ProtectFacts[]): AnnotatedKey[] {
  const chosen = new Set(facts.map(({ disk }) => disk.dev));
  return Object.values(guest.disks.mapping).flatMap((disk) =>
    chosen.has(disk.dev) ? [] : (annotationNow(disk) ?? []),
  );
}

function protectDisk(guest: Guest, fact: ProtectFacts, options: ProtectOptions): ProtectedDisk {
  const { disk, known, request } = fact;
  const annotated = annotationNow(disk);
  if (known === undefined && annotated !== undefined) throw foreignBlock(guest, fact);
  if (known === undefined) requireEmpty(guest, fact);
  const key = known?.record ?? newRecord(guest, fact, options);
  const record = { ...key, volume: volumeName(disk.volume) };
  const keystore = known?.keystore ?? request.keystore;
  if (known !== undefined) requireStateOf(guest, fact, known.record, options);
  if (record.state === "pending" && fact.probe.kind !== "luks" && fact.forbidden !== undefined)
    throw fact.forbidden.within(cannotProtect(guest, disk));
  // the header of another guest's pending key is there already, and that guest's start looks after it
  const formatsNow = options.format === "now" && record.state === "pending" && belongsTo(guest, record);
  return {
    disk: disk.dev,
    uuid: keyUuidOf(record),
    annotation: annotationFor(fact, record),
    annotated,
    store: known === undefined ? [{ kind: "store-key", keystore, record }] : [],
    format: formatsNow
      ? [{ kind: "format", disk: disk.dev, volume: disk.volume, record, ...formatter(fact) }]
      : [],
    activate: formatsNow ? [{ kind: "activate-key", keystore, record }] : [],
  };
}

function formatter({ provider }: ProtectFacts): { readonly provider?: "dm-crypt" } {
  return provider === "dm-crypt" ? { provider } : {};
}

function annotationFor({ disk, provider, engine }: ProtectFacts, record: KeyRecord): AnnotatedKey {
  const uuid = keyUuidOf(record);
  const { format } = record.encryption;
  const { dev, volume } = disk;
  if (provider === "native") return { disk: dev, uuid, ...(engine && { engine }) };
  if (!isMappable(volume)) throw new Error(`dm-crypt was chosen for ${volumeName(volume)}`);
  const ours = format === "plain" ? legacyMappingName(volume) : mappingName(volume, uuid);
  return { disk: dev, uuid, mapping: { name: disk.mapping ?? ours, format, volume } };
}

/** Who decrypts in QEMU's place inside a block is left as it is. */
function isSameAnnotation(wanted: AnnotatedKey, now: AnnotatedKey | undefined): boolean {
  return now !== undefined && wanted.mapping?.name === now.mapping?.name;
}

function newRecord(
  guest: Guest,
  { disk, request }: ProtectFacts,
  { now, newUuid }: ProtectOptions,
): KeyRecord {
  return newKeyRecord({
    uuid: newUuid(),
    guest,
    disk: disk.dev,
    volume: volumeName(disk.volume),
    request,
    now,
  });
}

/** A known key's volume has its header; only a pending one may still be empty. */
function requireStateOf(
  guest: Guest,
  fact: ProtectFacts,
  record: KeyRecord,
  { format }: ProtectOptions,
): void {
  const { probe, disk } = fact;
  if (probe.kind === "luks" && probe.header.uuid === record.uuid) return;
  const isPlain = record.encryption.format === "plain";
  switch (record.state) {
    case "pending":
      // a header of this key that a power cut tore: the format makes it anew
      if (probe.kind !== "bad-luks" || probe.claimedUuid !== record.uuid) requireEmpty(guest, fact);
      // by --now, the administrator himself says that the guest's key has moved to another new volume
      if (format === "now" ? belongsTo(guest, record) : isRecorded(guest, disk, record)) return;
      throw keyInUse(`cannot protect guest ${guest.name}`, guest, disk, record);
    case "active":
      if (isPlain && canBePlain(probe) && record.volume === volumeName(disk.volume)) return;
      throw withoutItsHeader(guest, fact, record);
    case "archived":
      throw new LuksmithError("KEY_ARCHIVED", {
        what: `cannot protect guest ${guest.name}: ${record.uuid}, which disk ${disk.dev} names, is a former passphrase`,
        ...(record.archived && { why: `key ${record.archived.of} had it until ${record.archived.at}` }),
        hint: "put the key's own UUID into its encryption block",
      });
  }
}

function withoutItsHeader(guest: Guest, { disk, probe }: ProtectFacts, record: KeyRecord): LuksmithError {
  const volume = volumeName(disk.volume);
  const hint =
    "check that the disk points at the right volume, else restore it from a backup; nothing was changed";
  switch (probe.kind) {
    case "empty":
    case "allocated":
    case "data":
      return new LuksmithError("VOLUME_NOT_FORMATTED", {
        what: `disk ${disk.dev} of guest ${guest.name} has lost its LUKS header`,
        why: `key ${record.uuid} is in use since ${record.createdAt}, but ${volume} does not have its header`,
        hint,
      });
    case "luks":
      return new LuksmithError("LUKS_UUID_MISMATCH", {
        what: `disk ${disk.dev} of guest ${guest.name} has key ${record.uuid}, but its volume belongs to another key`,
        why: `${volume} has LUKS UUID ${probe.header.uuid}`,
        hint,
      });
    case "bad-luks":
    case "absent":
    case "unreadable":
      return unusable(guest, disk, probe);
  }
}

function requireEmpty(guest: Guest, { disk, probe }: ProtectFacts): void {
  const volume = volumeName(disk.volume);
  const what = cannotProtect(guest, disk);
  switch (probe.kind) {
    case "empty":
      return;
    case "allocated":
    case "data":
      throw new LuksmithError("VOLUME_NOT_EMPTY", {
        what: `${what}: it is not empty`,
        why: `${volume} holds ${(probe.kind === "data" && probe.signature) || "data"}, which formatting would destroy`,
        hint: `to encrypt these data: ${protectCommand(guest, [disk.dev])}${guest.encryptedStorages === undefined ? " --convert" : ""}`,
      });
    case "luks":
      throw new LuksmithError("VOLUME_NOT_EMPTY", {
        what: `${what}: it is encrypted already`,
        why: `${volume} has LUKS UUID ${probe.header.uuid}, whose key no keystore has`,
        hint: "restore its key record from a backup of the keystore, or attach a new disk",
      });
    case "bad-luks":
    case "absent":
    case "unreadable":
      throw unusable(guest, disk, probe);
  }
}

type UnusableProbe = Extract<Probe, { readonly kind: "bad-luks" | "absent" | "unreadable" }>;

function unusable(guest: Guest, disk: DiskMapping, probe: UnusableProbe): LuksmithError {
  const volume = volumeName(disk.volume);
  const what = cannotProtect(guest, disk);
  switch (probe.kind) {
    case "bad-luks":
      return new LuksmithError("LUKS_HEADER_INVALID", {
        what: `${what}: it has a LUKS header that cannot be used`,
        why: `${volume}: ${probe.reason}`,
        hint: "restore the header from a backup; nothing was changed",
      });
    case "absent":
      return new LuksmithError("VOLUME_NOT_FOUND", {
        what,
        why: `${volume} does not exist`,
        hint: creationHint(disk.volume),
      });
    case "unreadable":
      return new LuksmithError("VOLUME_UNREADABLE", { what, why: probe.reason });
  }
}

function cannotProtect(guest: Guest, disk: DiskMapping): string {
  return `cannot protect disk ${disk.dev} of guest ${guest.name}`;
}

function foreignBlock(guest: Guest, { disk }: ProtectFacts): LuksmithError {
  return new LuksmithError("KEY_NOT_FOUND", {
    what: `${cannotProtect(guest, disk)}: it has an encryption block already`,
    why: `it names key ${disk.encryption_secret_uuid ?? ""}, which no keystore has`,
    hint: "if the disk is new, remove the block with virsh edit and run protect again; if not, bring back its key",
  });
}
