import type { Key } from "../keystore/keystore.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { Secret } from "../secret/secret.js";

/** The passphrases that one event works with; all are wiped when the session is disposed of. */
export class KeySession implements Disposable {
  readonly #passphrases = new Map<KeyUuid, Secret>();
  #isOver = false;

  /** Takes over the key's passphrase; wipes it at once if the session is over (an error ended it first). */
  add(uuid: KeyUuid, key: Pick<Key, "passphrase">): void {
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
