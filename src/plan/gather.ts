import { existsSync } from "node:fs";
import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
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

export interface FactSources {
  readonly keyring: Keyring;
  readonly storage: StorageRegistry;
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
  if (disk.encrypted) return { kind: "plain", disk, luks: undefined, overlaid: undefined };
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
  const { fact, key } = await lookUp(uuid, sources);
  key?.passphrase.dispose();
  return fact;
}

async function annotatedDisk(
  disk: DiskMapping,
  uuid: KeyUuid,
  request: EncryptionRequest | undefined,
  sources: FactSources,
  session: KeySession,
): Promise<AnnotatedDisk> {
  const { fact, key } = await lookUp(uuid, sources);
  if (key !== undefined) session.add(uuid, key);
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
  const { fact, key } = await lookUp(uuid, sources);
  if (key !== undefined) session.add(uuid, key);
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
      return { fact, key };
    }
    case "unknown":
    case "unavailable":
      return { fact: located satisfies KeyFact, key: undefined };
  }
}
