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

/** The bytes of the passphrase that is stored under the record's UUID, or undefined if there is no key. */
export async function passphraseIn(keystore: Keystore, record: KeyRecord): Promise<Buffer | undefined> {
  const key = await keystore.fetch(keyUuidOf(record));
  using passphrase = key?.passphrase;
  return passphrase?.use((bytes) => Buffer.from(bytes));
}
