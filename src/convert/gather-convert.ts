import { existsSync } from "node:fs";
import type { DiskMapping } from "../disk-info/disk-info.js";
import type { EncryptionProvider } from "../encryption/encryption-provider.js";
import type { EncryptionProviders, EngineChoice } from "../encryption/encryption-providers.js";
import { askedOnce } from "../encryption/versions.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { CommandRunner } from "../exec/command-runner.js";
import type { ConfiguredGuest, HostAdapter } from "../host/host-adapter.js";
import { keyUuidOf } from "../keystore/key-record.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { Keyring } from "../keystore/keyring.js";
import type { KeyFact } from "../plan/facts.js";
import type { KeySession } from "../plan/key-session.js";
import { findConfiguredUser, findVolumeUser, type VolumeUser } from "../plan/volume-users.js";
import type { EncryptionRequest } from "../request/ask.js";
import type { StorageRegistry } from "../storage/index.js";
import { findLv } from "../storage/lvm/lvm-lookup.js";
import { type LvName, lvNameOf } from "../storage/lvm/lvm-name.js";
import { dependentsOf } from "../storage/lvm/lvm-report.js";
import type { Probe, StorageBackend } from "../storage/storage-backend.js";
import { type PathVolume, type Volume, volumeName } from "../storage/volume.js";

/** Where the copy is to lie. */
export interface ConvertTarget {
  readonly volume: PathVolume;
  /** Whether the user named it, and so says that it may be used if it is there. */
  readonly isNamed: boolean;
  /** The thin pool that it is made from. */
  readonly pool?: string;
}

/** What `convert` must know. */
export interface ConvertFacts {
  readonly guest: ConfiguredGuest;
  readonly disk: DiskMapping;
  /** The key of the disk as it is now. */
  readonly key: KeyFact;
  /** Undefined where its volume is no logical volume. */
  readonly lv: LvName | undefined;
  /** Snapshots of its volume. */
  readonly snapshots: number;
  readonly request: EncryptionRequest;
  /** Who shall decrypt the new volume. */
  readonly provider: EncryptionProvider;
  readonly target: ConvertTarget;
  readonly backend: StorageBackend;
  readonly probe: Probe;
  /** Who else has the target, or opens something with its key: a guest that is shut off as well. */
  readonly user: VolumeUser | undefined;
  /** The key of the target's LUKS header, or of an earlier `convert` that was cut short. */
  readonly known: { readonly keystore: string; readonly record: KeyRecord } | undefined;
}

export interface ConvertSources {
  readonly host: HostAdapter;
  readonly keyring: Keyring;
  readonly storage: StorageRegistry;
  readonly providers: EncryptionProviders;
  readonly runner: CommandRunner;
}

export interface ConvertQuestion extends Pick<ConvertFacts, "guest" | "disk" | "request" | "target"> {
  readonly choice: EngineChoice;
}

/** The I/O half of planning; writes nothing. The passphrases of the keys that it finds go to the session. */
export async function gatherConvertFacts(
  { guest, disk, request, target, choice }: ConvertQuestion,
  sources: ConvertSources,
  session: KeySession,
): Promise<ConvertFacts> {
  const { volume } = target;
  const backend = await backendOf(target, sources.storage);
  sources.storage.requireFormatting(backend, volume);
  const probe = await backend.probe(volume, "header");
  const key = await keyOf(disk.encryption_secret_uuid, sources, session);
  const known = await knownKey(guest, disk, volume, probe, sources, session);
  // an earlier try may have made the key for another profile
  const format = known?.record.encryption.format ?? request.format;
  const versions = askedOnce(() => sources.host.versions());
  const provider = await sources.providers.choose({ volume, format, choice, versions });
  const user = await userOf(guest, volume, known, sources);
  const lv = await lvOf(disk.volume, sources.runner);
  const snapshots = lv === undefined ? 0 : await dependentsOf(sources.runner, volumeName(disk.volume), lv);
  return { guest, disk, key, lv, snapshots, request, provider, target, backend, probe, user, known };
}

/** A logical volume that is not there yet has no device that tells its kind: the pool that it is made from does. */
async function backendOf({ volume, pool }: ConvertTarget, storage: StorageRegistry): Promise<StorageBackend> {
  const { kind, path } = volume;
  if (kind === "file" || existsSync(path) || lvNameOf(path) === undefined) return storage.backendFor(volume);
  const found = await storage.findBackend(volume);
  if (found?.type === "lvm" || found?.type === "lvm-thin") return found;
  const type = pool === undefined ? "lvm" : "lvm-thin";
  return storage.all().find((backend) => backend.type === type) ?? storage.backendFor(volume);
}

async function keyOf(
  uuid: KeyUuid | undefined,
  { keyring }: ConvertSources,
  session: KeySession,
): Promise<KeyFact> {
  if (uuid === undefined) return { kind: "unknown" };
  const located = await keyring.locate(uuid);
  if (located.kind !== "found") return located;
  session.add(uuid, located.key);
  return { kind: "found", keystore: located.keystore.name, record: located.key.record };
}

async function knownKey(
  guest: ConfiguredGuest,
  { dev }: DiskMapping,
  { path }: PathVolume,
  probe: Probe,
  sources: ConvertSources,
  session: KeySession,
): Promise<ConvertFacts["known"]> {
  const candidates: KeyUuid[] = [];
  if (probe.kind === "luks") {
    candidates.push(probe.header.uuid);
  } else {
    const query = { guestId: guest.id, volume: path, state: "pending" } as const;
    const keystores = await sources.keyring.all();
    const found = (await Promise.all(keystores.map((keystore) => keystore.find(query)))).flat();
    candidates.push(...found.filter(({ disk }) => disk === dev).map(keyUuidOf));
  }
  for (const uuid of candidates) {
    const fact = await keyOf(uuid, sources, session);
    if (fact.kind === "unavailable") throw fact.error;
    if (fact.kind === "found") return { keystore: fact.keystore, record: fact.record };
  }
  return undefined;
}

async function userOf(
  guest: ConfiguredGuest,
  volume: PathVolume,
  known: ConvertFacts["known"],
  { host }: ConvertSources,
): Promise<VolumeUser | undefined> {
  // no disk has this name: the target is none of the guest's disks yet
  const wanted = { dev: "", volume, uuid: known && keyUuidOf(known.record) };
  return (await findVolumeUser(host, guest, wanted)) ?? (await findConfiguredUser(host, guest, wanted));
}

/** By whatever path the guest has it. */
async function lvOf(volume: Volume, runner: CommandRunner): Promise<LvName | undefined> {
  if (volume.kind !== "block") return undefined;
  const found = await findLv(runner, volume.path);
  return found === undefined || found.kind === "refused" ? undefined : found.lv;
}
