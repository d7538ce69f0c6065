import { recorded, useOfRecord } from "../../audit/recorded.js";
import type { KeyRecord } from "../../generated/key-record.js";
import { keyUuidOf, newKeyRecord } from "../../keystore/key-record.js";
import type { KeyUuid } from "../../keystore/key-uuid.js";
import { canDelete } from "../../keystore/keystore.js";
import type { EncryptionRequest } from "../../request/ask.js";
import { Secret } from "../../secret/secret.js";
import type { Candidate } from "./candidate.js";
import type { InPlacePorts, Work, WorkKey } from "./work.js";

/** Stores a key for a disk that has none, already known to be in a conversion, and does `work` with it. */
export async function withNewKey<T>(
  { guest, disk, ...candidate }: Candidate,
  request: EncryptionRequest,
  ports: InPlacePorts & { readonly uuid: KeyUuid },
  work: (work: Work) => Promise<T>,
): Promise<T> {
  const { audit, clock, keyring, uuid } = ports;
  const now = clock.now();
  const record: KeyRecord = {
    ...newKeyRecord({ uuid, guest, disk: disk.dev, volume: candidate.volume.path, request, now }),
    // never pending: that would say that the volume may be formatted
    state: "active",
    conversion: { to: "encrypted", startedAt: now.toISOString() },
  };
  using passphrase = Secret.randomPassphrase();
  const key: WorkKey = { keystore: await keyring.get(request.keystore), record, passphrase };
  await recorded(audit, [useOfRecord("store", record, key.keystore.name)], async () => {
    await key.keystore.store({ record, passphrase });
    return () => deleteKey(key);
  });
  return await work({ ...candidate, guest, disk, key });
}

/** Of a conversion that is taken back before any byte was moved. */
export async function forgetKey({ key }: Work, { audit }: InPlacePorts): Promise<void> {
  await deleteKey(key);
  await audit.record({ ...useOfRecord("delete", key.record, key.keystore.name), result: "done" });
}

async function deleteKey({ keystore, record }: WorkKey): Promise<void> {
  if (canDelete(keystore)) await keystore.delete(keyUuidOf(record));
}
