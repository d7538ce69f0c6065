import type { DiskMapping } from "../disk-info/disk-info.js";
import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { AskVersions, ProviderName } from "../encryption/encryption-provider.js";
import type { EncryptionProviders, EngineChoice } from "../encryption/encryption-providers.js";
import type { EncryptionFormat } from "../encryption/luks-spec.js";
import { askedOnce } from "../encryption/versions.js";
import type { Guest, HostAdapter } from "../host/host-adapter.js";
import { keyUuidOf } from "../keystore/key-record.js";
import type { EncryptionRequest } from "../request/ask.js";
import { choosesEngine, type Engine, type Probe, type StorageBackend } from "../storage/storage-backend.js";
import { type Volume, volumeName } from "../storage/volume.js";
import { adoptCommand } from "./commands.js";
import type { FactSources } from "./gather.js";
import { refuseUnmetFormat } from "./host-ability.js";
import type { KeySession } from "./key-session.js";

/** What `protect` must know of one disk. */
export interface ProtectFacts {
  readonly disk: DiskMapping;
  readonly request: EncryptionRequest;
  readonly probe: Probe;
  /** Why the settings let nobody format it. */
  readonly forbidden: LuksmithError | undefined;
  /** Who shall decrypt it. */
  readonly provider: ProviderName;
  /** libvirt's word for it, if it is native and not QEMU itself; for a disk that has no encryption block yet. */
  readonly engine?: Engine;
  /** The key of the encryption block, of the LUKS header, or of an earlier `protect` that was cut short. */
  readonly known: { readonly keystore: string; readonly record: KeyRecord } | undefined;
}

export interface ProtectSources extends FactSources {
  readonly host: Pick<HostAdapter, "versions">;
  readonly providers: EncryptionProviders;
}

/**
 * Reads each volume as far as proof of its emptiness needs: this can take long on a thick volume. Nothing is read
 * before it is known that this host can do what is asked for.
 * @throws TRAIT_MISSING, VOLUME_UNSUPPORTED and whatever keeps a volume or a keystore from being read
 */
export async function gatherProtectFacts(
  guest: Guest,
  requests: readonly EncryptionRequest[],
  choice: EngineChoice,
  sources: ProtectSources,
  session: KeySession,
): Promise<ProtectFacts[]> {
  const versions = askedOnce(() => sources.host.versions());
  const choosing = { choice, versions, providers: sources.providers };
  const chosen: Chosen[] = [];
  for (const request of requests) chosen.push(await choose(guest, request, choosing));
  return Promise.all(
    chosen.map(async ({ disk, request, format, provider: expected }) => {
      const backend = await sources.storage.backendFor(disk.volume);
      if (!backend.formats.includes(format)) throw notCarried(guest, disk, format, backend);
      const probe = await backend.probe(disk.volume, "read");
      const forbidden = await forbiddenFormat(disk.volume, sources);
      const known = await knownKey(guest, disk, probe, sources, session);
      const actual = known?.record.encryption.format ?? format;
      const provider = actual === format ? expected : await providerFor(disk, actual, choosing);
      const isNew = disk.encryption_secret_uuid === undefined && choosesEngine(backend);
      const engine = isNew ? await backend.chooseEngine(disk.volume, versions) : undefined;
      return { disk, request, probe, forbidden, known, provider, ...(engine && { engine }) };
    }),
  );
}

interface Choosing {
  readonly choice: EngineChoice;
  readonly versions: AskVersions;
  readonly providers: EncryptionProviders;
}

interface Chosen {
  readonly disk: DiskMapping;
  readonly request: EncryptionRequest;
  /** As far as the guest's configuration and the request tell. */
  readonly format: EncryptionFormat;
  readonly provider: ProviderName;
}

/** Starts no I/O on volumes and keystores. */
async function choose(guest: Guest, request: EncryptionRequest, choosing: Choosing): Promise<Chosen> {
  const disk = guest.disks.mapping[request.disk];
  if (disk === undefined)
    throw new LuksmithError("DISK_NOT_FOUND", { what: `guest ${guest.name} has no disk ${request.disk}` });
  const format = disk.encryption_format ?? request.format;
  try {
    if (disk.encryption_secret_uuid !== undefined) await refuseUnmetFormat(guest, disk, choosing);
    return { disk, request, format, provider: await providerFor(disk, format, choosing) };
  } catch (thrown) {
    throw asLuksmithError(thrown).within(`cannot protect guest ${guest.name}`);
  }
}

/** A disk that is annotated stays with whom it has, unless the choice is explicit. */
async function providerFor(
  disk: DiskMapping,
  format: EncryptionFormat,
  { choice, versions, providers }: Choosing,
): Promise<ProviderName> {
  if (disk.encryption_secret_uuid !== undefined && choice === "auto")
    return disk.mapping === undefined ? "native" : "dm-crypt";
  return (await providers.choose({ volume: disk.volume, format, choice, versions })).name;
}

/** Its key would be made and its guest annotated, and no start could ever format it. */
function notCarried(
  guest: Guest,
  disk: DiskMapping,
  format: EncryptionFormat,
  { type, formats }: StorageBackend,
): LuksmithError {
  const { dev, volume, encryption_secret_uuid: uuid } = disk;
  const adopt = uuid === undefined && format === "plain" ? adoptCommand(guest, disk) : undefined;
  return new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `cannot protect disk ${dev} of guest ${guest.name}: ${volumeName(volume)} cannot be encrypted as ${format}`,
    why: `storage backend ${type} carries ${formats.join(", ")} only`,
    hint:
      adopt === undefined
        ? "ask for another format, or use other storage"
        : `if Nova encrypted the volume under it: ${adopt}`,
  });
}

async function forbiddenFormat(volume: Volume, { storage }: FactSources): Promise<LuksmithError | undefined> {
  try {
    await storage.formattingBackendFor(volume);
    return undefined;
  } catch (thrown) {
    const error = asLuksmithError(thrown);
    if (error.code === "VOLUME_FORMAT_FORBIDDEN") return error;
    throw thrown;
  }
}

async function knownKey(
  guest: Guest,
  disk: DiskMapping,
  probe: Probe,
  { keyring }: FactSources,
  session: KeySession,
): Promise<ProtectFacts["known"]> {
  const uuid = disk.encryption_secret_uuid ?? (probe.kind === "luks" ? probe.header.uuid : undefined);
  const candidates = uuid === undefined ? await pendingKeys(guest, disk, { keyring }) : [uuid];
  for (const candidate of candidates) {
    const located = await keyring.locate(candidate);
    if (located.kind === "unavailable") throw located.error;
    if (located.kind === "unknown") continue;
    session.add(candidate, located.key, located);
    return { keystore: located.keystore.name, record: located.key.record };
  }
  return undefined;
}

/** Keys of a `protect` that was killed between storing the key and annotating the guest. */
async function pendingKeys(guest: Guest, disk: DiskMapping, { keyring }: Pick<FactSources, "keyring">) {
  const query = { guestId: guest.id, volume: volumeName(disk.volume), state: "pending" } as const;
  const found = await Promise.all((await keyring.all()).map((keystore) => keystore.find(query)));
  return found
    .flat()
    .filter((record) => record.disk === disk.dev)
    .map(keyUuidOf);
}
