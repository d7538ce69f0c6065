import type { StoredMasterKey } from "../../generated/master-key.js";
import type { Secret } from "../../secret/secret.js";

/** The key size of AES-256. */
export const MASTER_KEY_BYTES = 32;

/**
 * What keeps the master key from others. The key records know nothing of it: another protector changes one file.
 * `master-key.ts` registers every protector.
 */
export interface Protector {
  /** The stored form of `masterKey`; keeps no reference to it. */
  protect(masterKey: Secret): Promise<StoredMasterKey>;

  /** The master key, which the caller disposes of. @throws MASTER_KEY_UNUSABLE */
  unprotect(stored: StoredMasterKey): Promise<Secret>;
}
