import { existsSync } from "node:fs";
import type { DiskMapping } from "../disk-info/disk-info.js";
import type { EncryptionProvider } from "../encryption/encryption-provider.js";
import type { EncryptionProviders, EngineChoice } from "../encryption/encryption-providers.js";
import { askedOnce } from "../encryption/versions.js";
import type { ConversionNote } from "../generated/conversion-note.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { CommandRunner } from "../exec/command-runner.js";
import type { ConfiguredGuest, HostAdapter } from "../host/host-adapter.js";
import { keyUuidOf } from "../keystore/key-record.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { Keyring } from "../keystore/keyring.js";
import type { KeyFact } from "../plan/facts.js";
import type { KeySession } from "../plan/key-session.js";
import { findUser, type VolumeUser } from "../plan/volume-users.js";
import type { EncryptionRequest } from "../request/ask.js";
import type { StorageRegistry } from "../storage/index.js";
import { lvNameOf } from "../storage/lvm/lvm-name.js";
import type { Probe, StorageBackend } from "../storage/storage-backend.js";
import { type PathVolume, volumeName } from "../storage/volume.js";
import type { ConversionNotes } from "./conversion-notes.js";
import { type ImageShape, shapeOf } from "./image-shape.js";
import { identityOf } from "./volume-identity.js";

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
  /** What its volume holds; undefined where the guest's configuration names no key. */
  readonly source: Probe | undefined;
  readonly shape: ImageShape;
  /** How the new volume is to be encrypted; undefined where it is to be plain. */
  readonly request: EncryptionRequest | undefined;
  /** Who shall decrypt the new volume; undefined where it is to be plain. */
  readonly provider: EncryptionProvider | undefined;
  readonly target: ConvertTarget;
  readonly backend: StorageBackend;
  readonly probe: Probe;
  /** Who else has the target, or opens something with its key: a guest that is shut off as well. */
  readonly user: VolumeUser | undefined;
  /** The key of the target's LUKS header, or of an earlier `convert` that was cut short. */
  readonly known: { readonly keystore: string; readonly record: KeyRecord } | undefined;
  /**
   * What was noted when an earlier try began to copy this disk into this target: `made` if the volume that is there is
   * the one that was made, or taken, then; `unmade` if nothing tells yet.
   */
  readonly noted: { readonly state: ConversionNote["state"]; readonly target: "made" | "unmade" } | undefined;
}

export interface ConvertSources {
  readonly host: HostAdapter;
  readonly keyring: Keyring;
  readonly storage: StorageRegistry;
  readonly providers: EncryptionProviders;
  readonly runner: CommandRunner;
  readonly notes: ConversionNotes;
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
  const source = await sourceProbe(disk, sources.storage);
  const known = request && (await knownKey(guest, disk, volume, probe, sources, session));
  // an earlier try may have made the key for another profile
  const format = known?.record.encryption.format ?? request?.format;
  const versions = askedOnce(() => sources.host.versions());
  const provider = format && (await sources.providers.choose({ volume, format, choice, versions }));
  const user = await userOf(guest, volume, known, sources);
  const shape = await shapeOf(disk.volume, sources.runner);
  const noted = await notedOf(guest, disk, volume, sources);
  return { guest, disk, key, source, shape, request, provider, target, backend, probe, user, known, noted };
}

async function sourceProbe(
  { volume, encryption_secret_uuid: uuid }: DiskMapping,
  storage: StorageRegistry,
): Promise<Probe | undefined> {
  const backend = uuid && (await storage.findBackend(volume));
  return backend?.probe(volume, "header");
}

async function notedOf(
  guest: ConfiguredGuest,
  { dev, volume: old }: DiskMapping,
  volume: PathVolume,
  { notes, runner }: ConvertSources,
): Promise<ConvertFacts["noted"]> {
  const note = notes
    .of(guest)
    .find((one) => one.disk === dev && one.old.path === volumeName(old) && one.new.path === volume.path);
  if (note === undefined) return undefined;
  const identity = note.new.identity;
  if (identity === undefined) return { state: note.state, target: "unmade" };
  return identity === (await identityOf(volume, runner)) ? { state: note.state, target: "made" } : undefined;
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
  session.add(uuid, located.key, located);
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
  return await findUser(host, guest, wanted);
}
