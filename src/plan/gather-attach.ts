import type { DiskBus, DiskMapping } from "../disk-info/disk-info.js";
import type { EngineChoice } from "../encryption/encryption-providers.js";
import type { Guest, HostAdapter } from "../host/host-adapter.js";
import { keyUuidOf } from "../keystore/key-record.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { EncryptionRequest } from "../request/ask.js";
import { resolveRequests } from "../request/resolve.js";
import type { EffectiveSettings } from "../settings/settings.js";
import type { DiskFacts } from "./facts.js";
import { withFittingLegacy } from "./fitting-legacy.js";
import { gatherFacts } from "./gather.js";
import { gatherProtectFacts, type ProtectFacts, type ProtectSources } from "./gather-protect.js";
import { diskOf } from "./guest-disk.js";
import type { KeySession } from "./key-session.js";
import { refuseUnannotated } from "./refusals.js";
import { isSameVolume, mappingOf } from "./same-volume.js";
import type { GuestState } from "./step.js";
import { findVolumeUser, type VolumeUser } from "./volume-users.js";

/** What `attach` must know. */
export type AttachFacts = ConfiguredDisk | AddedDisk;

interface DiskToAttach {
  /** As the guest's persistent configuration has it, or shall have it. */
  readonly disk: DiskMapping;
  /** The key of its annotation, or of an earlier `protect`; undefined for a volume that is new. */
  readonly uuid: KeyUuid | undefined;
  readonly state: GuestState;
  /** What the running guest has under this device name. */
  readonly live: LiveDisk;
  /** Who else has the volume, or opens something with its key. */
  readonly user: VolumeUser | undefined;
}

/** `plain`: the same volume, but the guest sees its bytes as they are. */
export type LiveDisk = "none" | "same" | "plain" | "other";

/** The persistent configuration has it with its annotation, or with none although it was not said what it lies on. */
export interface ConfiguredDisk extends DiskToAttach {
  readonly kind: "configured";
  readonly fact: DiskFacts;
}

/** It was said what it lies on, and it is to be protected. */
export interface AddedDisk extends DiskToAttach {
  readonly kind: "added";
  readonly protect: ProtectFacts;
  readonly bus?: DiskBus;
  /** Whether the configuration has it already, not annotated: an earlier `attach` was cut short. */
  readonly isConfigured: boolean;
}

export interface AttachedGuest {
  readonly persistent: Guest;
  /** Undefined while it is shut off. */
  readonly running: Guest | undefined;
}

export interface AttachSources extends ProtectSources {
  readonly host: HostAdapter;
}

/** Of a disk that the persistent configuration has. */
export async function gatherConfiguredDisk(
  guest: AttachedGuest,
  disk: DiskMapping,
  settings: EffectiveSettings,
  sources: AttachSources,
  session: KeySession,
): Promise<ConfiguredDisk> {
  const alone = withDisks(guest.persistent, [disk]);
  const requests = await withFittingLegacy(alone, resolveRequests(alone, settings), sources.storage);
  // one without any is looked at below, for what it was before
  if (disk.encryption_secret_uuid !== undefined) refuseUnannotated(alone, requests);
  const [fact] = await gatherFacts(alone, requests, sources, session);
  if (fact === undefined) throw new Error("one disk has the facts of one disk");
  return { kind: "configured", fact, ...(await about(guest, disk, disk.encryption_secret_uuid, sources)) };
}

export interface NewDiskChoices {
  readonly request: EncryptionRequest;
  readonly engine: EngineChoice;
  readonly bus?: DiskBus;
}

/** Of a disk that is to be in the persistent configuration. */
export async function gatherAddedDisk(
  guest: AttachedGuest,
  disk: DiskMapping,
  { request, engine, bus }: NewDiskChoices,
  sources: AttachSources,
  session: KeySession,
): Promise<AddedDisk> {
  const { persistent } = guest;
  const isConfigured = diskOf(persistent, disk.dev) !== undefined;
  const future = withDisk(persistent, disk);
  const [protect] = await gatherProtectFacts(future, [request], engine, sources, session);
  if (protect === undefined) throw new Error("one disk has the facts of one disk");
  const uuid = protect.known && keyUuidOf(protect.known.record);
  return {
    ...{ kind: "added", protect, isConfigured },
    ...(bus && { bus }),
    ...(await about(guest, disk, uuid, sources)),
  };
}

async function about(
  { persistent, running }: AttachedGuest,
  disk: DiskMapping,
  uuid: KeyUuid | undefined,
  { host }: AttachSources,
): Promise<DiskToAttach> {
  const live = await liveDisk(running && diskOf(running, disk.dev), disk);
  const user = await findVolumeUser(host, persistent, { ...disk, uuid });
  return { disk, uuid, state: running === undefined ? "stopped" : "running", live, user };
}

async function liveDisk(live: DiskMapping | undefined, wanted: DiskMapping): Promise<LiveDisk> {
  if (live === undefined) return "none";
  if (!(await isSameVolume(live, wanted))) return "other";
  return live.encrypted || mappingOf(live) !== undefined ? "same" : "plain";
}

/** The guest as it is with this disk. */
export function withDisk(guest: Guest, disk: DiskMapping): Guest {
  return withDisks(guest, [
    ...Object.values(guest.disks.mapping).filter(({ dev }) => dev !== disk.dev),
    disk,
  ]);
}

/** The guest with these disks and no others. */
export function withDisks(guest: Guest, disks: readonly DiskMapping[]): Guest {
  const mapping = Object.fromEntries(disks.map((disk) => [disk.dev, disk]));
  return { ...guest, disks: { ...guest.disks, mapping } };
}
