import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
import type { KeyUuid } from "./key-uuid.js";
import type { Key, Keystore } from "./keystore.js";

/** A keystore of the settings, made when it is first needed. */
export interface KeystoreInstance {
  readonly name: string;
  make(): Keystore;
}

/** Where a key is. Only `unknown` says that no keystore has it; whoever gets a key disposes of its passphrase. */
export type Location =
  | { readonly kind: "found"; readonly keystore: Keystore; readonly key: Key }
  | { readonly kind: "unknown" }
  | { readonly kind: "unavailable"; readonly error: LuksmithError };

/** The keystores of the settings, by name and in their order. */
export class Keyring {
  readonly #instances: readonly KeystoreInstance[];
  readonly #made = new Map<string, Keystore>();

  constructor(instances: readonly KeystoreInstance[]) {
    this.#instances = instances;
  }

  /** @throws KEYSTORE_UNKNOWN, naming the known ones */
  get(name: string): Keystore {
    const instance = this.#instances.find((candidate) => candidate.name === name);
    if (instance !== undefined) return this.#keystore(instance);
    throw new LuksmithError("KEYSTORE_UNKNOWN", {
      what: `there is no keystore ${name}`,
      hint: `the settings have: ${this.#instances.map((known) => known.name).join(", ")}`,
    });
  }

  all(): Keystore[] {
    return this.#instances.map((instance) => this.#keystore(instance));
  }

  /**
   * Asks one keystore after the other, the preferred one first, until one has the key. Never throws for what a
   * keystore does: `unavailable` carries the first error (KEYSTORE_UNAVAILABLE, KEY_CORRUPT, …) where no keystore
   * has the key and not every one has said so.
   */
  async locate(uuid: KeyUuid, preferred?: string): Promise<Location> {
    const errors: LuksmithError[] = [];
    for (const instance of this.#inOrder(preferred)) {
      try {
        const keystore = this.#keystore(instance);
        const key = await keystore.fetch(uuid);
        if (key !== undefined) return { kind: "found", keystore, key };
      } catch (thrown) {
        errors.push(asLuksmithError(thrown));
      }
    }
    const [error] = errors;
    return error === undefined ? { kind: "unknown" } : { kind: "unavailable", error };
  }

  #inOrder(preferred: string | undefined): KeystoreInstance[] {
    const first = this.#instances.filter(({ name }) => name === preferred);
    return [...first, ...this.#instances.filter(({ name }) => name !== preferred)];
  }

  #keystore(instance: KeystoreInstance): Keystore {
    const made = this.#made.get(instance.name) ?? instance.make();
    this.#made.set(instance.name, made);
    return made;
  }
}
