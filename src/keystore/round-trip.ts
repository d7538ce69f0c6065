import { LuksmithError } from "../error/luksmith-error.js";
import type { KeyRecord } from "../generated/key-record.js";
import { Secret } from "../secret/secret.js";
import { keyUuidOf } from "./key-record.js";
import { newKeyUuid } from "./key-uuid.js";
import type { Key, KeyDeleter, Keystore } from "./keystore.js";

/** No guest has this id: a guest's is a UUID or a number. */
const TEST_GUEST = "luksmith-test";
/** Milliseconds after which a test's key can only be what a killed test left. */
const ABANDONED_AFTER = 3_600_000;

/**
 * Stores a throw-away key, changes its record, replaces its passphrase, fetches and deletes it.
 * @throws KEYSTORE_UNAVAILABLE if the keystore gives back something else; whatever the keystore throws
 */
export async function testRoundTrip(keystore: Keystore & KeyDeleter): Promise<void> {
  await deleteAbandoned(keystore);
  const record = throwAwayRecord();
  const uuid = keyUuidOf(record);
  using former = Secret.randomPassphrase();
  using passphrase = Secret.randomPassphrase();
  const active = { ...record, state: "active" } as const;
  await keystore.store({ record, passphrase: former });
  await keystore.update(active);
  await keystore.replace({ record: { ...active, generation: 2 }, passphrase });
  const returned = await keystore.fetch(uuid);
  const problem = problemOf(returned, passphrase);
  returned?.passphrase.dispose();
  await keystore.delete(uuid);
  if (problem === undefined) return;
  throw new LuksmithError("KEYSTORE_UNAVAILABLE", {
    what: `keystore ${keystore.name} does not give back what it was given`,
    why: problem,
  });
}

function problemOf(returned: Key | undefined, passphrase: Secret): string | undefined {
  if (returned === undefined) return "a key that it stored is not there";
  if (returned.record.state !== "active") return "a key record that was updated has its old state";
  return returned.passphrase.equals(passphrase) ? undefined : "a passphrase comes back changed";
}

/** Whether the key is a test's, and encrypts nothing. */
export function isThrowAway({ guest }: KeyRecord): boolean {
  return guest.id === TEST_GUEST;
}

async function deleteAbandoned(keystore: Keystore & KeyDeleter): Promise<void> {
  const before = new Date(Date.now() - ABANDONED_AFTER).toISOString();
  for (const record of await keystore.find({ guestId: TEST_GUEST })) {
    if (record.createdAt < before) await keystore.delete(keyUuidOf(record));
  }
}

/** Of a key that a later test deletes, should nobody else. */
export function throwAwayRecord(): KeyRecord {
  return {
    version: 1,
    uuid: newKeyUuid(),
    state: "pending",
    guest: { id: TEST_GUEST, name: TEST_GUEST },
    disk: "test",
    volume: "/nonexistent",
    encryption: { format: "luks", cipher: "aes-xts-plain64", keySize: 512, hash: "sha256" },
    createdAt: new Date().toISOString(),
  };
}
