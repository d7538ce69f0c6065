import type { KeyRecord } from "../generated/key-record.js";
import type { Secret } from "../secret/secret.js";
import type { KeyUuid } from "./key-uuid.js";

/** A key record with its passphrase; whoever fetched it disposes of the passphrase. */
export interface Key {
  readonly record: KeyRecord;
  readonly passphrase: Secret;
}

/** What is to become of a record. */
export type RecordChange = (record: KeyRecord) => KeyRecord;

/** What `find` compares; every given attribute must be equal. */
export interface KeyQuery {
  readonly guestId?: string;
  readonly volume?: string;
  readonly state?: KeyRecord["state"];
  /** The archived records of this key: its former passphrases. */
  readonly archivedOf?: KeyUuid;
}

/**
 * Where passphrases are kept, one for each disk. `test/contract/keystore.contract.ts` runs on every implementation.
 * Every method throws KEYSTORE_UNAVAILABLE when the keystore does not answer (in bounded time), KEYSTORE_AUTH_FAILED,
 * KEYSTORE_FORBIDDEN, KEYSTORE_TLS_FAILED or KEYSTORE_ANSWER_INVALID for what else can be wrong between the two, and
 * never keeps a reference to a Secret that it was given.
 */
export interface Keystore {
  /** The instance's name in the settings. */
  readonly name: string;
  readonly type: string;

  /**
   * Stores a new key for good: when this returns, a power cut does not lose it.
   * @throws KEY_EXISTS if the UUID is taken (nothing changes); KEYSTORE_WRITE_FAILED if nothing was stored.
   */
  store(key: Key): Promise<void>;

  /**
   * The key, or undefined if this keystore is certain that it has none under `uuid`.
   * @throws KEY_CORRUPT, and never a wrong passphrase; KEY_DELETED if the keystore remembers that somebody deleted it
   */
  fetch(uuid: KeyUuid): Promise<Key | undefined>;

  /**
   * Changes the record that the keystore has at that moment, and not the passphrase. Where somebody else is faster,
   * `change` is called again, with what that one has left: nobody's change is lost.
   * @param change pure; leaves UUID and generation. A record that is as it is to be it gives back as it is (order of lists
   *   included), since it may be called with what it has made itself. What it throws is thrown, and nothing is written
   * @returns the record that is stored now
   * @throws KEY_NOT_FOUND, KEY_DELETED, KEYSTORE_WRITE_FAILED (others change it all the time, too)
   */
  change(uuid: KeyUuid, change: RecordChange): Promise<KeyRecord>;

  /**
   * Replaces the record's state and attributes, not its passphrase, whatever it was: for who has just read it.
   * @throws KEY_NOT_FOUND, KEY_DELETED, KEYSTORE_WRITE_FAILED; KEY_CONFLICT for a record from before a change of
   *   somebody else: of a lower generation, or without the rotation, the conversion or the recovery keyslots of the
   *   stored one. Whoever means to take one of these away does it with `change`
   */
  update(record: KeyRecord): Promise<void>;

  /**
   * Replaces a key's passphrase and its record at once, for good: a power cut, a kill or a lost answer leaves the former
   * key or the new one, whole, and whoever fetches meanwhile gets one of the two. The former passphrase cannot be fetched
   * afterwards. Idempotent. Another passphrase has a higher `generation` than the one that it replaces. Who calls sees
   * to it that both passphrases open the volume (rotation).
   * @param expected the record that `key` was made from, as `fetch` or `change` gave it: if the keystore has another one
   *   by now, nothing is replaced
   * @throws KEY_CONFLICT for that; KEY_NOT_FOUND, KEY_DELETED, KEYSTORE_WRITE_FAILED. What `fetch` says afterwards holds
   */
  replace(key: Key, expected?: KeyRecord): Promise<void>;

  /** The records (no passphrases) that match. */
  find(query: KeyQuery): Promise<KeyRecord[]>;
}

/** Optional capability: deleting for good. No hook ever deletes a key that has encrypted anything. */
export interface KeyDeleter {
  /**
   * Idempotent: a key that is not there is success.
   * @throws KEY_IN_USE if somebody else has registered at the keystore that he uses it; nothing changes then
   */
  delete(uuid: KeyUuid): Promise<void>;
}

/** Optional capability: every record, for `luksmith keys list`. */
export interface KeyLister {
  list(): Promise<KeyRecord[]>;
}

/** What can be said of a keystore that works, in this order. */
export type KeystoreCheck = "reached" | "TLS" | "authenticated" | "round trip";

/** Optional capability: what an administrator must know before he trusts this keystore. */
export interface KeyTester {
  /**
   * Tries one thing after the other, up to a round trip with a throw-away key, which needs every permission that
   * Luksmith needs.
   * @param passed hears of each check that has passed
   * @throws what is wrong with the first that fails
   */
  test(passed?: (check: KeystoreCheck) => void): Promise<void>;
}

export function canDelete(keystore: Keystore): keystore is Keystore & KeyDeleter {
  return "delete" in keystore;
}

export function canList(keystore: Keystore): keystore is Keystore & KeyLister {
  return "list" in keystore;
}

export function canTest(keystore: Keystore): keystore is Keystore & KeyTester {
  return "test" in keystore;
}
