import type { KeyRecord } from "../generated/key-record.js";
import { keyUuidOf } from "../keystore/key-record.js";
import type { Key, Keystore } from "../keystore/keystore.js";
import { type KeyUuid, newKeyUuid } from "../keystore/key-uuid.js";
import { generationOf } from "../keystore/replacement.js";
import type { Secret } from "../secret/secret.js";

/**
 * Stores the key's passphrase as a record of its own, for old copies of its volume, and counts its time from `now`;
 * once, also if an earlier attempt has done so.
 */
export async function archiveKey(keystore: Keystore, key: Key, now: Date): Promise<void> {
  const of = keyUuidOf(key.record);
  const archived = { of, generation: generationOf(key.record), at: now.toISOString() };
  for (const record of await keystore.find({ archivedOf: of })) {
    if (record.archived?.generation !== archived.generation) continue;
    // a keystore that was restored from a backup counts its passphrases anew
    const copy = await keystore.fetch(keyUuidOf(record));
    using passphrase = copy?.passphrase;
    if (passphrase?.equals(key.passphrase) !== true) continue;
    await keystore.change(keyUuidOf(record), (current) => ({ ...current, archived }));
    return;
  }
  const { version, guest, disk, volume, encryption, createdAt, profile } = key.record;
  const record: KeyRecord = {
    ...{ version, uuid: newKeyUuid(), state: "archived", guest, disk, volume, encryption, createdAt },
    ...(profile !== undefined && { profile }),
    archived,
  };
  await keystore.store({ record, passphrase: key.passphrase });
}

/** The newest first; whoever calls disposes of them. */
export async function formerPassphrases(keystore: Keystore, of: KeyUuid): Promise<Secret[]> {
  const records = await keystore.find({ archivedOf: of });
  const newestFirst = records.toSorted(
    (a, b) => (b.archived?.generation ?? 0) - (a.archived?.generation ?? 0),
  );
  const found: Secret[] = [];
  try {
    for (const record of newestFirst) {
      const key = await keystore.fetch(keyUuidOf(record));
      if (key !== undefined) found.push(key.passphrase);
    }
    return found;
  } catch (thrown) {
    for (const passphrase of found) passphrase.dispose();
    throw thrown;
  }
}
