import { LuksmithError } from "../error/luksmith-error.js";

/** KEY_EXISTS: a key cannot be stored. @param keystore its name in the settings */
export function keyExists(keystore: string, uuid: string): LuksmithError {
  return new LuksmithError("KEY_EXISTS", {
    what: `cannot store key ${uuid}`,
    why: `keystore ${keystore} has a key of this UUID already`,
  });
}

/** KEY_NOT_FOUND: a key record cannot be updated. @param keystore its name in the settings */
export function keyNotFound(keystore: string, uuid: string): LuksmithError {
  return new LuksmithError("KEY_NOT_FOUND", {
    what: `cannot update key ${uuid}`,
    why: `keystore ${keystore} has no such key`,
  });
}
