import type { LuksmithError } from "../error/luksmith-error.js";
import { canDelete, canList, canTest, type Keystore } from "./keystore.js";
import { NoAnswer } from "./remote/no-answer.js";

/** Milliseconds after which one that did not answer counts as hanging. */
const SLOW = 1000;
/** Milliseconds for which nobody waits for one that hangs a second time. */
const PAUSE = 30_000;

/** Remembers that a keystore hangs: a guest with many disks waits for it once. */
export class CircuitBreaker {
  #open: { readonly error: LuksmithError; readonly until: number } | undefined;

  /**
   * `work`'s result, or at once the error with which the keystore was silent a moment ago.
   * @param kind only a question tells that it hangs: whether a change was made that nobody answered must be asked
   */
  async run<T>(kind: "question" | "change", work: () => Promise<T>): Promise<T> {
    const begun = performance.now();
    if (this.#open !== undefined && begun < this.#open.until) throw this.#open.error;
    try {
      const result = await work();
      this.#open = undefined;
      return result;
    } catch (thrown) {
      const now = performance.now();
      if (kind === "question" && thrown instanceof NoAnswer && now - begun > SLOW)
        this.#open = { error: thrown, until: now + PAUSE };
      throw thrown;
    }
  }
}

/** `keystore` with all that it can do. Only its own test is done whatever happened before. */
export function guarded(keystore: Keystore, breaker: CircuitBreaker): Keystore {
  const { name, type } = keystore;
  return {
    name,
    type,
    store: (key) => breaker.run("change", () => keystore.store(key)),
    fetch: (uuid) => breaker.run("question", () => keystore.fetch(uuid)),
    change: (uuid, change) => breaker.run("change", () => keystore.change(uuid, change)),
    update: (record) => breaker.run("change", () => keystore.update(record)),
    replace: (key, expected) => breaker.run("change", () => keystore.replace(key, expected)),
    find: (query) => breaker.run("question", () => keystore.find(query)),
    ...(canDelete(keystore) && {
      delete: (uuid: Parameters<typeof keystore.delete>[0]) =>
        breaker.run("change", () => keystore.delete(uuid)),
    }),
    ...(canList(keystore) && { list: () => breaker.run("question", () => keystore.list()) }),
    ...(canTest(keystore) && {
      test: (...passed: Parameters<typeof keystore.test>) => keystore.test(...passed),
    }),
  };
}
