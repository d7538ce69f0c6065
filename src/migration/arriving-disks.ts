import type { FactSources } from "../plan/gather.js";
import type { AnnotatedDisk, DiskFacts } from "../plan/facts.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { Guest } from "../host/host-adapter.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { Location } from "../keystore/keyring.js";
import type { Probe } from "../storage/storage-backend.js";
import type { Arrivals } from "./arrivals.js";

/** An encrypted disk of a guest that comes, whose volume here does not have the LUKS header that it has there. */
export interface ArrivingDisk {
  readonly fact: AnnotatedDisk;
  /** As deep as it must be to prove emptiness. */
  readonly probe: Probe;
  /** The key of the header that the volume has. */
  readonly header: KeyHere | undefined;
  /** What an earlier attempt, which was killed, has noted for this disk. */
  readonly noted: KeyHere | undefined;
}

export interface KeyHere {
  readonly uuid: KeyUuid;
  readonly key:
    { readonly kind: "found"; readonly record: KeyRecord } | Exclude<Location, { readonly kind: "found" }>;
}

/** What speaks about the content of a volume here, and what to ask about it. */
interface Sources extends FactSources {
  readonly arrivals: Arrivals;
  /** UUIDs of the host secrets that are here, whosever they are; asked only for a key that no keystore has. */
  readonly secretUuids: () => Promise<ReadonlySet<string>>;
}

/** The disks that must be decided about; all others are opened as they are, or refused as at any start. */
export async function arrivingDisks(
  guest: Guest,
  facts: readonly DiskFacts[],
  sources: Sources,
): Promise<ArrivingDisk[]> {
  const doubtful = facts.filter(isDoubtful);
  const unknown = doubtful.some(({ key }) => key.kind === "unknown");
  const foreign = unknown ? await sources.secretUuids() : new Set<string>();
  // a secret that somebody else has given to the host: his block, his disk
  const ours = doubtful.filter(({ key, uuid }) => key.kind === "found" || !foreign.has(uuid));
  return (await Promise.all(ours.map((fact) => arrivingDisk(guest, fact, sources)))).flat();
}

/** Not a volume that has its header, nor what has none by nature, nor a block that no Luksmith has made. */
function isDoubtful(fact: DiskFacts): fact is AnnotatedDisk {
  if (fact.kind === "plain" || fact.key.kind === "unavailable") return false;
  const { disk, probe, uuid, key } = fact;
  const engine = disk.encryption_options?.["engine"] ?? "qemu";
  if (disk.encryption_format === undefined || disk.encryption_format === "plain") return false;
  if (disk.mapping === undefined && engine !== "qemu" && engine !== "librbd") return false;
  if (key.kind === "found" && key.record.encryption.format === "plain") return false;
  return !(key.kind === "found" && probe?.kind === "luks" && probe.header.uuid === uuid);
}

async function arrivingDisk(guest: Guest, fact: AnnotatedDisk, sources: Sources): Promise<ArrivingDisk[]> {
  const { volume, dev } = fact.disk;
  const backend = await sources.storage.findBackend(volume);
  // storage that we cannot even read: the host manager says what it thinks of it
  if (backend === undefined) return [];
  const isDeep = fact.probe !== undefined && fact.probe.kind !== "allocated";
  const probe = isDeep ? fact.probe : await backend.probe(volume, "allocation-map");
  const found =
    probe.kind === "luks" ? probe.header.uuid : probe.kind === "bad-luks" ? probe.claimedUuid : undefined;
  const note = sources.arrivals.find(guest);
  const copies = note === undefined || note === "damaged" ? [] : note.copies;
  const noted = copies.find(({ disk, from }) => disk === dev && from.uuid === fact.uuid)?.to.uuid;
  const [header, earlier] = await Promise.all([found, noted].map((uuid) => keyHere(uuid, sources)));
  return [{ fact, probe, header, noted: earlier }];
}

async function keyHere(uuid: KeyUuid | undefined, { keyring }: FactSources): Promise<KeyHere | undefined> {
  if (uuid === undefined) return undefined;
  const location = await keyring.locate(uuid);
  if (location.kind !== "found") return { uuid, key: location };
  location.key.passphrase.dispose();
  return { uuid, key: { kind: "found", record: location.key.record } };
}
