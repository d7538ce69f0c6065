import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { KeyRecord } from "../../src/generated/key-record.js";
import type { KeyUuid } from "../../src/keystore/key-uuid.js";
import type { Key, KeyDeleter, KeyQuery, Keystore, RecordChange } from "../../src/keystore/keystore.js";

/** How the n-th call and all after it end: `before` anything was done, or `after` it, when only the answer is lost. */
export interface Death {
  readonly call: number;
  readonly moment: "before" | "after";
}

/** A keystore in front of a real one that dies at a chosen call. Counts its calls, and those at work at one time. */
export class FakeFailingKeystore implements Keystore, KeyDeleter {
  readonly type: string;
  readonly name: string;
  calls = 0;
  mostAtOnce = 0;
  #atWork = 0;

  constructor(
    private readonly real: Keystore & KeyDeleter,
    private readonly death: Death = { call: Infinity, moment: "before" },
  ) {
    this.type = real.type;
    this.name = real.name;
  }

  store(key: Key): Promise<void> {
    return this.#call(() => this.real.store(key));
  }

  fetch(uuid: KeyUuid): Promise<Key | undefined> {
    return this.#call(() => this.real.fetch(uuid));
  }

  change(uuid: KeyUuid, change: RecordChange): Promise<KeyRecord> {
    return this.#call(() => this.real.change(uuid, change));
  }

  update(record: KeyRecord): Promise<void> {
    return this.#call(() => this.real.update(record));
  }

  replace(key: Key, expected?: KeyRecord): Promise<void> {
    return this.#call(() => this.real.replace(key, expected));
  }

  find(query: KeyQuery): Promise<KeyRecord[]> {
    return this.#call(() => this.real.find(query));
  }

  delete(uuid: KeyUuid): Promise<void> {
    return this.#call(() => this.real.delete(uuid));
  }

  async #call<T>(work: () => Promise<T>): Promise<T> {
    const number = ++this.calls;
    this.#atWork++;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.#atWork);
    try {
      // as a network would: others get their turn
      await new Promise((resolve) => setTimeout(resolve, 1));
      const { call, moment } = this.death;
      if (number > call || (number === call && moment === "before")) throw dead(this.name);
      const answer = await work();
      if (number === call) throw dead(this.name);
      return answer;
    } finally {
      this.#atWork--;
    }
  }
}

function dead(name: string): LuksmithError {
  return new LuksmithError("KEYSTORE_UNAVAILABLE", { what: `keystore ${name} does not answer` });
}
