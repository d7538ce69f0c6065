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
import type { EncryptionRequest } from "../request/ask.js";
import type { StorageRegistry } from "../storage/index.js";
import { lvNameOf } from "../storage/lvm/lvm-name.js";
import { dependentsOf } from "../storage/lvm/lvm-report.js";
import type { Probe, StorageBackend } from "../storage/storage-backend.js";
import type { PathVolume } from "../storage/volume.js";

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
  /** Snapshots of its volume. */
  readonly snapshots: number;
  readonly request: EncryptionRequest;
  /** Who shall decrypt the new volume. */
  readonly provider: EncryptionProvider;
  readonly target: ConvertTarget;
  readonly backend: StorageBackend;
  readonly probe: Probe;
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
  const versions = askedOnce(() => sources.host.versions());
  const provider = await sources.providers.choose({ volume, format: request.format, choice, versions });
  const backend = await backendOf(target, sources.storage);
  sources.storage.requireFormatting(backend, volume);
  const probe = await backend.probe(volume, "header");
  const key = await keyOf(disk.encryption_secret_uuid, sources, session);
  const known = await knownKey(guest, disk, volume, probe, sources, session);
  const snapshots = await snapshotsOf(disk, sources.runner);
  return { guest, disk, key, snapshots, request, provider, target, backend, probe, known };
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

async function snapshotsOf({ volume }: DiskMapping, runner: CommandRunner): Promise<number> {
  const lv = volume.kind === "block" ? lvNameOf(volume.path) : undefined;
  return lv === undefined ? 0 : await dependentsOf(runner, (volume as PathVolume).path, lv);
}
