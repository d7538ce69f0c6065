import { asLuksmithError } from "../error/luksmith-error.js";
import type { DiskMapping } from "../disk-info/disk-info.js";
import type { Guest } from "../host/host-adapter.js";
import type { Keyring } from "../keystore/keyring.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { EncryptionRequest } from "../request/ask.js";
import type { Probe, ProbeDepth } from "../storage/storage-backend.js";
import type { StorageRegistry } from "../storage/index.js";
import type { AnnotatedDisk, DiskFacts, KeyFact } from "./facts.js";
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
  const probe = disk.encrypted ? undefined : await probeIfKnown(disk, "header", sources);
  const key = probe?.kind === "luks" ? await lookUpRecord(probe.header.uuid, sources) : undefined;
  const layers = disk.encrypted ? [] : (disk.backingSecretUuids ?? []);
  const overlaid = await Promise.all(layers.map((uuid) => lookUpRecord(uuid, sources)));
  return { kind: "plain", disk, key, overlaid: overlaid.find(({ kind }) => kind === "found") };
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
  const probe = ours
    ? await (await sources.storage.backendFor(disk.volume)).probe(disk.volume, depth)
    : undefined;
  return { kind: "annotated", disk, uuid, request, key: fact, probe };
}

async function lookUp(uuid: KeyUuid, { keyring }: FactSources) {
  const located = await keyring.locate(uuid);
  switch (located.kind) {
    case "found": {
      const fact: KeyFact = { kind: "found", keystore: located.keystore.name, record: located.key.record };
      return { fact, key: located.key };
    }
    case "unknown":
    case "unavailable":
      return { fact: located satisfies KeyFact, key: undefined };
  }
}

/** Undefined for a volume of a kind that no storage backend knows: it is not ours, and that is no error here. */
async function probeIfKnown(
  disk: DiskMapping,
  depth: ProbeDepth,
  { storage }: FactSources,
): Promise<Probe | undefined> {
  const backend = await storage.findBackend(disk.volume);
  return backend?.probe(disk.volume, depth);
}
