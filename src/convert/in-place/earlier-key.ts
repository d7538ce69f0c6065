import type { DiskMapping } from "../../disk-info/disk-info.js";
import type { KeyRecord } from "../../generated/key-record.js";
import type { ConfiguredGuest } from "../../host/host-adapter.js";
import { keyUuidOf } from "../../keystore/key-record.js";
import type { KeyUuid } from "../../keystore/key-uuid.js";
import type { Keyring } from "../../keystore/keyring.js";
import { volumeName } from "../../storage/volume.js";
import type { Journal } from "./journal.js";
import type { ConversionTo } from "./signpost.js";
import type { WorkKey } from "./work.js";

/** A disk, and where it is to go. */
export interface EarlierQuestion {
  readonly guest: Pick<ConfiguredGuest, "id" | "name">;
  readonly disk: DiskMapping;
  readonly to: ConversionTo;
}

export interface EarlierPorts {
  readonly keyring: Keyring;
  readonly journal: Journal;
}

/**
 * The key of a conversion in place of this disk that has begun and has not ended. One that the configuration names may be
 * of the other direction, which its record tells. Its passphrase is the caller's.
 * @throws KEYSTORE_UNAVAILABLE and the keystore's own: nobody can tell then
 */
export async function earlierKey(
  question: EarlierQuestion,
  ports: EarlierPorts,
): Promise<WorkKey | undefined> {
  const { encryption_secret_uuid: named } = question.disk;
  const key =
    named === undefined ? await unnamedKey(question, ports) : await namedKey(named, question, ports);
  if (key === undefined || isBegun(key.record, question, ports)) return key;
  key.passphrase.dispose();
  return undefined;
}

async function namedKey(
  uuid: KeyUuid,
  { guest, disk }: EarlierQuestion,
  { keyring }: EarlierPorts,
): Promise<WorkKey | undefined> {
  const located = await keyring.locate(uuid);
  const task = `cannot tell whether disk ${disk.dev} of guest ${guest.name} is being converted in place`;
  if (located.kind === "unavailable") throw located.error.within(task);
  if (located.kind === "unknown") return undefined;
  const { key, keystore, cached } = located;
  if (cached === undefined) return { ...key, keystore: await keyring.get(keystore.name) };
  // the record may have changed since
  key.passphrase.dispose();
  throw cached.error.within(task);
}

/** The configuration does not name it yet, or does not any more. */
async function unnamedKey(
  question: EarlierQuestion,
  { keyring, journal }: EarlierPorts,
): Promise<WorkKey | undefined> {
  const { guest, disk, to } = question;
  const query = { guestId: guest.id, volume: volumeName(disk.volume), state: "active" } as const;
  for (const keystore of await keyring.all()) {
    for (const record of await keystore.find(query)) {
      const isMeant = record.disk === disk.dev && (record.conversion?.to ?? to) === to;
      if (!isMeant || !isBegun(record, question, { journal })) continue;
      const key = await keystore.fetch(keyUuidOf(record));
      if (key !== undefined) return { keystore, ...key };
    }
  }
  return undefined;
}

/** By its record, or by the journal alone, which is the last that is removed. */
function isBegun(
  record: KeyRecord,
  { to }: EarlierQuestion,
  { journal }: Pick<EarlierPorts, "journal">,
): boolean {
  return record.conversion !== undefined || journal.read(keyUuidOf(record))?.to === to;
}
