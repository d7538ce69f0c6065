import type { KeyUse } from "../audit/audit-log.js";
import type { Key } from "../keystore/keystore.js";
import type { Found } from "../keystore/keyring.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { Secret } from "../secret/secret.js";

/** Who gave out a key; `cached` where its keystore did not answer, and this host had kept a copy. */
type KeySource = Pick<Found, "keystore" | "cached">;

/** The passphrases that one event works with; all are wiped when the session is disposed of. */
export class KeySession implements Disposable {
  readonly #passphrases = new Map<KeyUuid, Secret>();
  readonly #sources = new Map<KeyUuid, KeySource>();
  #isOver = false;

  /** Takes over the key's passphrase; wipes it at once if the session is over (an error ended it first). */
  add(uuid: KeyUuid, key: Pick<Key, "passphrase">, source?: KeySource): void {
    if (source !== undefined) this.#sources.set(uuid, source);
    if (this.#isOver) {
      key.passphrase.dispose();
      return;
    }
    this.#passphrases.get(uuid)?.dispose();
    this.#passphrases.set(uuid, key.passphrase);
  }

  create(uuid: KeyUuid): Secret {
    const passphrase = Secret.randomPassphrase();
    this.add(uuid, { passphrase });
    return passphrase;
  }

  /** Who gave out the key, in the audit log's words; nothing for one that was made here. */
  givenBy(uuid: KeyUuid): Pick<KeyUse, "keystore" | "detail"> {
    const source = this.#sources.get(uuid);
    if (source === undefined) return {};
    const detail = "from this host's copy of the key";
    return { keystore: source.keystore.name, ...(source.cached && { detail }) };
  }

  /** The passphrase, still owned by the session. A plan that asks for one that no fact brought is a bug. */
  passphrase(uuid: KeyUuid): Secret {
    const passphrase = this.#passphrases.get(uuid);
    if (passphrase === undefined) throw new Error(`no passphrase was fetched for key ${uuid}`);
    return passphrase;
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    for (const passphrase of this.#passphrases.values()) passphrase.dispose();
    this.#passphrases.clear();
  }
}
