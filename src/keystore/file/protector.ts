import type { CommandRunner } from "../../exec/command-runner.js";
import type { FileKeystoreSettings } from "../../generated/keystore-file.js";
import type { StoredMasterKey } from "../../generated/master-key.js";
import type { Secret } from "../../secret/secret.js";

/** The key size of AES-256. */
export const MASTER_KEY_BYTES = 32;

export type ProtectorSettings = NonNullable<FileKeystoreSettings["protector"]>;
export type ProtectorType = ProtectorSettings["type"];
export type SettingsOf<Type extends ProtectorType> = Filled<Extract<ProtectorSettings, { type: Type }>>;
/** What the schema has defaults for is there. */
type Filled<T> = Required<Omit<T, "tpm2Device">> & Pick<T, keyof T & "tpm2Device">;

/** What is in `master-key.json` when this protector keeps the key. */
export type StoredBy<Type extends ProtectorType> = Extract<StoredMasterKey, { protector: Type }>;
/** The part of it that is the protector's own. */
export type Sealed<Type extends ProtectorType> = Omit<
  StoredBy<Type>,
  "version" | "protector" | "settings" | "masterKey" | "recovery"
>;

/** What a protector works with besides its settings. */
export interface ProtectorTools {
  readonly runner: CommandRunner;
  /** The keystore's directory, 0700. */
  readonly directory: string;
}

/**
 * What keeps the master key from others. The key records know nothing of it: another protector changes one file.
 * `protectors/index.ts` registers every protector. Both methods end within seconds, whatever device or server does
 * not answer: a guest's start waits for `unprotect`.
 */
export interface Protector<Type extends ProtectorType> {
  /**
   * The sealed form of `masterKey`; keeps no reference to it.
   * @throws PROTECTOR_UNAVAILABLE, TOOL_MISSING, PIN_REJECTED, SETTINGS_INVALID
   */
  protect(masterKey: Secret): Promise<Sealed<Type>>;

  /**
   * The bytes that were sealed, which the caller disposes of; whether they are the master key is the caller's to see.
   * @throws MASTER_KEY_UNUSABLE where trying again cannot help; PROTECTOR_UNAVAILABLE, TOOL_MISSING, PIN_REJECTED
   */
  unprotect(stored: StoredBy<Type>): Promise<Secret>;
}
