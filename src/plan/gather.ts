import { existsSync, readdirSync } from "node:fs";
import type { JournalEntry } from "../convert/in-place/journal.js";
import { asLuksmithError, errnoOf, LuksmithError } from "../error/luksmith-error.js";
import type { DiskMapping } from "../disk-info/disk-info.js";
import type { Guest } from "../host/host-adapter.js";
import type { Keyring } from "../keystore/keyring.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { EncryptionRequest } from "../request/ask.js";
import type { StorageRegistry } from "../storage/index.js";
import { choosesEngine, type StorageBackend } from "../storage/storage-backend.js";
import { type Volume, volumeName } from "../storage/volume.js";
import type { AnnotatedDisk, BaseKey, DiskFacts, HiddenLuks, KeyFact } from "./facts.js";
import type { KeySession } from "./key-session.js";

/** Where conversions in place note how far they are. */
const IN_PLACE = "/var/lib/luksmith/in-place";

export interface FactSources {
  readonly keyring: Keyring;
  readonly storage: StorageRegistry;
  /** Absent: of this host. */
  readonly inPlace?: string;
}

/** The I/O half of planning: asks keystores and volumes about every disk of the guest, all disks at once. */
export async function gatherFacts(
  guest: Guest,
  requests: ReadonlyMap<string, EncryptionRequest>,
  sources: FactSources,
  session: KeySession,
): Promise<DiskFacts[]> {
  return Promise.all(
    Object.values(guest.disks.mapping).map(async (disk) => {
      const uuid = disk.encryption_secret_uuid;
      try {
        return uuid === undefined
          ? await plainDisk(disk, sources)
          : await annotatedDisk(disk, uuid, requests.get(disk.dev), sources, session);
      } catch (thrown) {
        throw asLuksmithError(thrown).within(`disk ${disk.dev} of guest ${guest.name}`);
      }
    }),
  );
}

async function plainDisk(disk: DiskMapping, sources: FactSources): Promise<DiskFacts> {
  const moved = await movedOn(disk.volume, sources.inPlace ?? IN_PLACE);
  if (disk.encrypted || moved !== undefined)
    return { kind: "plain", disk, luks: undefined, overlaid: undefined, ...(moved && { moved }) };
  const layers = await Promise.all(
    (disk.backingSecretUuids ?? []).map((uuid) => lookUpRecord(uuid, sources)),
  );
  const overlaid =
    layers.find(({ kind }) => kind === "found") ?? layers.find(({ kind }) => kind === "unavailable");
  return {
    kind: "plain",
    disk,
    luks: await hiddenLuks(disk.looksEncrypted?.volume ?? disk.volume, sources),
    overlaid,
  };
}

/** Costs one look into a directory where no conversion in place is unfinished. */
async function movedOn(volume: Volume, directory: string): Promise<JournalEntry | undefined> {
  const isMovable = volume.kind === "file" || volume.kind === "block";
  const journals = isMovable ? journalsIn(directory) : [];
  if (!isMovable || journals.length === 0) return undefined;
  const { movedInPlace } = await import("./moved-in-place.js");
  return await movedInPlace(volume, directory, journals);
}

function journalsIn(directory: string): string[] {
  try {
    return readdirSync(directory).filter((name) => name.endsWith(".json"));
  } catch (thrown) {
    if (errnoOf(thrown) === "ENOENT" || errnoOf(thrown) === "ENOTDIR") return [];
    throw thrown;
  }
}

/** A volume of a kind that no storage backend knows is not ours, and that is no error here. */
async function hiddenLuks(volume: Volume, sources: FactSources): Promise<HiddenLuks | undefined> {
  // a logical volume that is not active would be activated for the look, and its guest does not start so anyway
  if (volume.kind === "block" && !existsSync(volume.path)) return undefined;
  for (const reading of readings(volume)) {
    const backend = await sources.storage.findBackend(reading);
    const probe = await backend?.probe(reading, "header");
    if (probe?.kind !== "luks") continue;
    const { uuid } = probe.header;
    return { volume: reading, uuid, key: await lookUpRecord(uuid, sources) };
  }
  return undefined;
}

/** A file whose image format the configuration gets wrong would hide its header. */
function readings(volume: Volume): Volume[] {
  if (volume.kind !== "file") return [volume];
  return [
    { ...volume, format: "raw" },
    { ...volume, format: "qcow2" },
  ];
}

/** Of a key whose passphrase nobody needs here. */
async function lookUpRecord(uuid: KeyUuid, sources: FactSources): Promise<KeyFact> {
  const { fact, found } = await lookUp(uuid, sources);
  found?.key.passphrase.dispose();
  return fact;
}

async function annotatedDisk(
  disk: DiskMapping,
  uuid: KeyUuid,
  request: EncryptionRequest | undefined,
  sources: FactSources,
  session: KeySession,
): Promise<AnnotatedDisk> {
  const { fact, found } = await lookUp(uuid, sources);
  if (found !== undefined) session.add(uuid, found.key, found);
  const ours = request !== undefined || fact.kind === "found";
  const depth = fact.kind === "found" && fact.record.state === "active" ? "header" : "allocation-map";
  const backend = ours ? await sources.storage.backendFor(disk.volume) : undefined;
  const probe = await backend?.probe(disk.volume, depth);
  const refusedEngine =
    backend && (plainRefusal(fact, disk, backend) ?? (await engineRefusal(disk, backend)));
  const bases = await Promise.all(
    (disk.backingSecretUuids ?? []).map((base) => baseKey(base, sources, session)),
  );
  return {
    ...{ kind: "annotated", disk, uuid, request, key: fact, probe, bases },
    ...(refusedEngine && { refusedEngine }),
  };
}

/** The key's record says plain, and what the disk names by now is no volume that could be it. */
function plainRefusal(
  fact: KeyFact,
  { volume }: DiskMapping,
  backend: StorageBackend,
): LuksmithError | undefined {
  const isPlain = fact.kind === "found" && fact.record.encryption.format === "plain";
  if (!isPlain || backend.formats.includes("plain")) return undefined;
  return new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `cannot open ${volumeName(volume)} as plain dm-crypt`,
    why: `storage backend ${backend.type} carries ${backend.formats.join(", ")} only`,
  });
}

async function engineRefusal(
  { encryption_options, volume }: DiskMapping,
  backend: StorageBackend,
): Promise<LuksmithError | undefined> {
  if (encryption_options?.["engine"] !== "librbd" || !choosesEngine(backend)) return undefined;
  return backend.refusedEngine(volume);
}

/** Nothing but the key: a base is opened by its guests' QEMU alone, and may belong to another guest. */
async function baseKey(uuid: KeyUuid, sources: FactSources, session: KeySession): Promise<BaseKey> {
  const { fact, found } = await lookUp(uuid, sources);
  if (found !== undefined) session.add(uuid, found.key, found);
  return { uuid, key: fact };
}

async function lookUp(uuid: KeyUuid, { keyring }: FactSources) {
  const located = await keyring.locate(uuid);
  switch (located.kind) {
    case "found": {
      const { keystore, key, cached } = located;
      const fact: KeyFact = {
        ...{ kind: "found", keystore: keystore.name, record: key.record },
        ...(cached && { cached }),
      };
      return { fact, found: located };
    }
    case "unknown":
    case "unavailable":
      return { fact: located satisfies KeyFact, found: undefined };
  }
}
