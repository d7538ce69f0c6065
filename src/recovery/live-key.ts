import { LuksmithError } from "../error/luksmith-error.js";
import type { Key } from "../keystore/keystore.js";
import type { Keyring } from "../keystore/keyring.js";
import type { KeyUuid } from "../keystore/key-uuid.js";

export interface LiveKey {
  /** Name of the keystore that gave it out just now. */
  readonly keystore: string;
  /** Whoever asked disposes of its passphrase. */
  readonly key: Key;
}

/**
 * The key from its keystore, and not from this host's cache, whose copy may be old.
 * @throws KEY_NOT_FOUND, KEY_ARCHIVED, and why the keystore did not answer
 */
export async function liveKey(keyring: Keyring, uuid: KeyUuid): Promise<LiveKey> {
  const located = await keyring.locate(uuid);
  switch (located.kind) {
    case "found": {
      const { keystore, key, cached } = located;
      if (cached === undefined && key.record.state !== "archived") return { keystore: keystore.name, key };
      key.passphrase.dispose();
      throw cached?.error ?? archived(uuid);
    }
    case "unknown":
      throw new LuksmithError("KEY_NOT_FOUND", { what: `no keystore has key ${uuid}` });
    case "unavailable":
      throw located.error;
  }
}

function archived(uuid: KeyUuid): LuksmithError {
  return new LuksmithError("KEY_ARCHIVED", {
    what: `${uuid} is a former passphrase, and no key of a volume`,
  });
}
