import type { AuditLog } from "../audit/audit-log.js";
import { useOfRecord } from "../audit/recorded.js";
import type { KeyRecord } from "../generated/key-record.js";
import { keyUuidOf } from "./key-record.js";
import type { KeyUuid } from "./key-uuid.js";
import { canDelete, type KeyDeleter, type Keystore } from "./keystore.js";

/** A former passphrase, and who can delete it. */
export interface FormerRecord {
  readonly keystore: Keystore & KeyDeleter;
  readonly record: KeyRecord;
}

/** The key's former passphrases, where they can be deleted. @throws what a keystore throws */
export async function formerOf(of: KeyUuid, keystores: readonly Keystore[]): Promise<FormerRecord[]> {
  const found = keystores.filter(canDelete).map(async (keystore): Promise<FormerRecord[]> => {
    const records = await keystore.find({ archivedOf: of });
    return records.map((record) => ({ keystore, record }));
  });
  return (await Promise.all(found)).flat();
}

/**
 * Deletes them and records it. Whoever deletes a key for good does so first: nobody would look for them afterwards.
 * He holds the key's lock. @throws what a keystore throws, AUDIT_UNWRITABLE
 */
export async function deleteFormer(former: readonly FormerRecord[], audit: AuditLog): Promise<void> {
  for (const { keystore, record } of former) {
    await keystore.delete(keyUuidOf(record));
    const { of, generation } = record.archived ?? { of: "", generation: 0 };
    const detail = `former passphrase number ${generation} of key ${of}`;
    await audit.record({ ...useOfRecord("delete", record, keystore.name), result: "done", detail });
  }
}
