import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
import type { KeyCache } from "./cache/key-cache.js";
import { withCache } from "./cache/with-cache.js";
import { CircuitBreaker, guarded } from "./circuit-breaker.js";
import { keyUuidOf } from "./key-record.js";
import type { KeyUuid } from "./key-uuid.js";
import type { Key, Keystore } from "./keystore.js";

/** A keystore of the settings, made when it is first needed. */
export interface KeystoreInstance {
  readonly name: string;
  make(): Promise<Keystore>;
}

/** Where a key is. Only `unknown` says that no keystore has it; whoever gets a key disposes of its passphrase. */
export type Location =
  Found | { readonly kind: "unknown" } | { readonly kind: "unavailable"; readonly error: LuksmithError };

export interface Found {
  readonly kind: "found";
  readonly keystore: Pick<Keystore, "name">;
  readonly key: Key;
  /** Set where the keystore does not answer, and this is the copy that this host has. */
  readonly cached?: Cached;
}

export interface Cached {
  /** When the keystore gave out the key. */
  readonly since: Date;
  /** Why it was not asked anew. */
  readonly error: LuksmithError;
}

/** What one keystore says. */
export interface Answer {
  /** Its name. */
  readonly from: string;
  readonly location: Live;
}

type Live = Exclude<Location, { readonly kind: "found" }> | (Found & { readonly cached?: never });

/** The keystores of the settings, by name and in their order. One that hangs is not asked again for a while. */
export class Keyring {
  readonly #instances: readonly KeystoreInstance[];
  readonly #cache: (() => Promise<KeyCache>) | undefined;
  readonly #made = new Map<string, Promise<Keystore>>();
  /** Once it is loaded. */
  #loadedCache: Promise<KeyCache> | undefined;

  constructor(instances: readonly KeystoreInstance[], cache?: () => Promise<KeyCache>) {
    this.#instances = instances;
    this.#cache = cache;
  }

  /** @throws KEYSTORE_UNKNOWN, naming the known ones */
  async get(name: string): Promise<Keystore> {
    const instance = this.#instances.find((candidate) => candidate.name === name);
    if (instance !== undefined) return this.#keystore(instance);
    throw new LuksmithError("KEYSTORE_UNKNOWN", {
      what: `there is no keystore ${name}`,
      hint: `the settings have: ${this.#instances.map((known) => known.name).join(", ")}`,
    });
  }

  async all(): Promise<Keystore[]> {
    return Promise.all(this.#instances.map((instance) => this.#keystore(instance)));
  }

  /**
   * Asks the preferred keystore (the first one without it), then all others at once, since one of them may hang. Of
   * several that have the key the earliest holds. Never throws for what a keystore does: `unavailable` carries the
   * first error (KEYSTORE_UNAVAILABLE, KEY_CORRUPT, …) where no keystore has the key and not every one has said so,
   * and the cache has no copy of it.
   */
  async locate(uuid: KeyUuid, preferred?: string): Promise<Location> {
    const [first, ...others] = this.#inOrder(preferred);
    if (first === undefined) return { kind: "unknown" };
    const answer = await this.#ask(first, uuid);
    const answers = [answer];
    if (answer.location.kind !== "found")
      answers.push(...(await Promise.all(others.map((instance) => this.#ask(instance, uuid)))));
    // a key that moves from one to another may have come after the one was asked, and gone before the other was
    if (answers.length > 1 && answers.every(({ location }) => location.kind === "unknown"))
      answers.push(...(await Promise.all(this.#instances.map((instance) => this.#ask(instance, uuid)))));
    const location = firstOf(answers);
    this.#loadedCache ??= this.#cache?.();
    return this.#loadedCache === undefined
      ? location
      : withCache(await this.#loadedCache, uuid, answers, location);
  }

  /**
   * After the key's passphrase was replaced: this host's copy, if it has one, is of the new one when `settled` resolves,
   * or gone. Never throws for what a keystore or the cache does.
   */
  async refreshCopy(uuid: KeyUuid): Promise<void> {
    const location = await this.locate(uuid);
    if (location.kind === "found") location.key.passphrase.dispose();
    if (location.kind === "found" && location.cached === undefined) return;
    const names = this.#instances.map(({ name }) => name);
    await (await this.#loadedCache)?.refused(names, uuid);
  }

  /**
   * The former passphrases of a key that the keystores have, the newest first; of one that several have, one. Whoever
   * asks disposes of them.
   * @throws what a keystore throws: an answer without its keys would say that there are none
   */
  async former(uuid: KeyUuid): Promise<Key[]> {
    const found = new Map<string, Key>();
    try {
      for (const keystore of await this.all()) {
        for (const record of await keystore.find({ archivedOf: uuid })) {
          const key = found.has(record.uuid) ? undefined : await keystore.fetch(keyUuidOf(record));
          // undefined as well for one that was deleted since it was listed: it is too old
          if (key !== undefined) found.set(record.uuid, key);
        }
      }
    } catch (thrown) {
      for (const { passphrase } of found.values()) passphrase.dispose();
      throw thrown;
    }
    return [...found.values()].sort((a, b) => formerGeneration(b) - formerGeneration(a));
  }

  /**
   * Waits for the copies that the cache makes of what `locate` has found; `limit` milliseconds at most, if it is given,
   * and gives up the rest. Never throws.
   */
  async settled(limit?: number): Promise<void> {
    const cache = await this.#loadedCache;
    await cache?.settled(limit);
  }

  async #ask(instance: KeystoreInstance, uuid: KeyUuid): Promise<Answer> {
    const { name: from } = instance;
    try {
      const keystore = await this.#keystore(instance);
      const key = await keystore.fetch(uuid);
      return { from, location: key === undefined ? { kind: "unknown" } : { kind: "found", keystore, key } };
    } catch (thrown) {
      return { from, location: { kind: "unavailable", error: asLuksmithError(thrown) } };
    }
  }

  #inOrder(preferred: string | undefined): KeystoreInstance[] {
    const first = this.#instances.filter(({ name }) => name === preferred);
    return [...first, ...this.#instances.filter(({ name }) => name !== preferred)];
  }

  #keystore(instance: KeystoreInstance): Promise<Keystore> {
    const made =
      this.#made.get(instance.name) ??
      instance.make().then((keystore) => guarded(keystore, new CircuitBreaker()));
    this.#made.set(instance.name, made);
    return made;
  }
}

function formerGeneration({ record: { archived } }: Key): number {
  return archived?.generation ?? 0;
}

/** A key that was found, else an error, else `unknown`; wipes the passphrases of keys that nobody gets. */
function firstOf(answers: readonly Answer[]): Live {
  const locations = answers.map(({ location }) => location);
  const [found, ...others] = locations.filter((location) => location.kind === "found");
  for (const { key } of others) key.passphrase.dispose();
  return found ?? locations.find(({ kind }) => kind === "unavailable") ?? { kind: "unknown" };
}
