import type { KeyRecord } from "../../src/generated/key-record.js";
import { keyUuidOf } from "../../src/keystore/key-record.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import type { Keystore } from "../../src/keystore/keystore.js";
import { Secret } from "../../src/secret/secret.js";

export function sampleRecord(change: Partial<KeyRecord> = {}): KeyRecord {
  return {
    version: 1,
    uuid: newKeyUuid(),
    state: "pending",
    guest: { id: "0a1b2c3d-0000-4000-8000-000000000001", name: "web1" },
    disk: "vda",
    volume: "/srv/vm/web1.img",
    encryption: { format: "luks", cipher: "aes-xts-plain64", keySize: 512, hash: "sha256" },
    createdAt: "2026-08-01T12:00:00.000Z",
    ...change,
  };
}

export async function storeText(keystore: Keystore, record: KeyRecord, text: string): Promise<void> {
  using passphrase = Secret.own(Buffer.from(text));
  await keystore.store({ record, passphrase });
}

export async function replaceText(
  keystore: Keystore,
  record: KeyRecord,
  text: string,
  expected?: KeyRecord,
): Promise<void> {
  using passphrase = Secret.own(Buffer.from(text));
  await keystore.replace({ record, passphrase }, expected);
}

/** Of a former passphrase of the key, as a rotation keeps it. */
export function archivedRecord(record: KeyRecord, generation: number): KeyRecord {
  const at = `2026-09-${String(generation).padStart(2, "0")}T12:00:00.000Z`;
  const archived = { of: record.uuid, generation, at };
  const former: KeyRecord = { ...record, uuid: newKeyUuid(), state: "archived", archived };
  delete former.freedAt;
  return former;
}

/** The bytes of the passphrase that is stored under the record's UUID, or undefined if there is no key. */
export async function passphraseIn(keystore: Keystore, record: KeyRecord): Promise<Buffer | undefined> {
  const key = await keystore.fetch(keyUuidOf(record));
  using passphrase = key?.passphrase;
  return passphrase?.use((bytes) => Buffer.from(bytes));
}
