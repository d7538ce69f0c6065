import type { KeyUuid } from "../key-uuid.js";
import type { Key } from "../keystore.js";

/** A copy of a key, as its keystore last gave it out. */
export interface CachedKey {
  /** Name of the keystore. */
  readonly keystore: string;
  /** Whoever gets it disposes of its passphrase. */
  readonly key: Key;
  /** When the keystore gave it out. */
  readonly since: Date;
}

/**
 * Copies of keys for the time that their keystore is away. It only ever adds a way to start a guest: what goes wrong
 * with it is a warning, and no method throws.
 */
export interface KeyCache {
  /**
   * This keystore has just given out `key`, which stays the caller's: copied if its profile says so, else forgotten. A
   * copy of another generation is forgotten in any case, and replaced if there was one.
   * The copying has begun when this resolves, and what it waits for keeps nobody waiting but `settled`.
   */
  gaveOut(keystore: string, key: Key): Promise<void>;

  /** These keystores have just said that they have no such key, that it was deleted, or that this host may not have it: forgotten. */
  refused(keystores: readonly string[], uuid: KeyUuid): Promise<void>;

  /** The copy of what one of these keystores, which do not answer, gave out; undefined if none may be used. */
  lookUp(keystores: readonly string[], uuid: KeyUuid): Promise<CachedKey | undefined>;

  /** Waits for copies that are being made; `limit` milliseconds at most, if it is given, and gives up the rest. */
  settled(limit?: number): Promise<void>;
}
