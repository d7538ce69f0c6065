import { LuksmithError } from "../../error/luksmith-error.js";
import type { KeyUuid } from "../key-uuid.js";

/** Where a key is, for messages. */
export interface KeyPlace {
  readonly uuid: KeyUuid;
  /** The keystore's name in the settings. */
  readonly keystore: string;
  /** As the command line of the server names it: `-mount=secret luksmith/7f3a…`. */
  readonly argument: string;
}

/** What is left of a version. */
export interface Deletion {
  readonly version: number;
  /** Its data is gone for good; else it can be brought back. */
  readonly destroyed: boolean;
}

/** KEY_EXISTS, also where the key was deleted and can be brought back. */
export function taken({ uuid, keystore, argument }: KeyPlace): LuksmithError {
  return new LuksmithError("KEY_EXISTS", {
    what: `cannot store key ${uuid}`,
    why: `keystore ${keystore} has a key of this UUID already, or had one that can be brought back`,
    hint: `look at it: vault kv metadata get ${argument}`,
  });
}

/** KEY_DELETED: it was there, and perhaps comes back. */
export function deleted({ uuid, keystore, argument }: KeyPlace, gone: Deletion): LuksmithError {
  const { version, destroyed } = gone;
  return new LuksmithError("KEY_DELETED", {
    what: `key ${uuid} of keystore ${keystore} was deleted`,
    why: `its version ${version} ${destroyed ? "was destroyed" : "was deleted, and can be brought back"}`,
    hint: destroyed
      ? `an older version has the same passphrase, if one is left: vault kv metadata get ${argument}; vault kv rollback -version=N ${argument}`
      : `bring it back: vault kv undelete -versions=${version} ${argument}`,
  });
}

/** KEY_CORRUPT; `reason` completes the sentence "what is stored …". */
export function damaged({ uuid, keystore, argument }: KeyPlace, reason: string): LuksmithError {
  return new LuksmithError("KEY_CORRUPT", {
    what: `key ${uuid} of keystore ${keystore} cannot be used`,
    why: `what is stored ${reason}`,
    hint: `an older version may be sound: vault kv metadata get ${argument}; vault kv rollback -version=N ${argument}`,
  });
}

export function unstorable(uuid: string, why: string): LuksmithError {
  return new LuksmithError("KEYSTORE_WRITE_FAILED", { what: `cannot store key ${uuid}`, why });
}

/**
 * A disk whose key deletes itself cannot be opened one day.
 * @param when `at 2026-…` or `after 1h0m0s`
 * @param version one that is stored and will be deleted
 */
export function limited(
  { uuid, keystore, argument }: KeyPlace,
  when: string,
  version?: number,
): LuksmithError {
  const then = `; then take the time from version ${version}: vault kv undelete -versions=${version} ${argument}`;
  return new LuksmithError("KEYSTORE_WRITE_FAILED", {
    what: `keystore ${keystore} would not keep key ${uuid}`,
    why: `the secrets engine would delete it by itself ${when}`,
    hint: `let the engine and the key keep versions: vault write MOUNT/config delete_version_after=0s; vault kv metadata put -delete-version-after=0s ${argument}${version === undefined ? "" : then}`,
  });
}
