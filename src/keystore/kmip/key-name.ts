import { randomUUID } from "node:crypto";
import type { KeyUuid } from "../key-uuid.js";
import type { Key } from "../keystore.js";
import type { Budget } from "../remote/budget.js";
import { isConnectionFailure } from "../remote/failures.js";
import type { Entry, SharedName } from "../remote/unique-store.js";
import type { KeyObject, KeyObjects } from "./key-objects.js";
import { readInformation } from "./stored-information.js";
import { STATE } from "./tags.js";

const ATTEMPTS = 3;

/** Objects of the name that are replaced. */
export interface Beside {
  readonly objects: readonly Pick<KeyObject, "id">[];
  /** Called at the last moment before the new one is the key. @throws if they are not what they were */
  readonly confirm: () => Promise<void>;
}

/** The name of a key that is being stored. An entry is finished when its object is no longer pre-active. */
export class KeyName implements SharedName {
  /** Ours in every attempt, so that what we registered without hearing of it is known again. */
  readonly #writer = randomUUID();
  readonly #beside: ReadonlySet<string>;
  readonly #confirm: () => Promise<void>;
  #mine: string | undefined;

  constructor(
    private readonly objects: KeyObjects,
    private readonly uuid: KeyUuid,
    private readonly key: Key,
    private readonly budget: Budget,
    { objects: replaced, confirm }: Beside = { objects: [], confirm: () => Promise.resolve() },
  ) {
    this.#beside = new Set(replaced.map(({ id }) => id));
    this.#confirm = confirm;
  }

  async entries(): Promise<Entry[]> {
    const objects = (await this.objects.of(this.uuid)).filter(({ id }) => !this.#beside.has(id));
    const ghosts = objects.filter((object) => object.id !== this.#mine && this.#isOurs(object));
    for (const { id } of ghosts) await this.objects.discard(id, this.uuid);
    return objects
      .filter((object) => !ghosts.includes(object))
      .map(({ id, attributes }) => ({ id, finished: attributes.state !== STATE.PreActive }));
  }

  async begin(): Promise<string> {
    for (let attempt = 1; ; attempt++) {
      try {
        return (this.#mine = await this.objects.register(this.key, this.uuid, this.#writer));
      } catch (thrown) {
        if (!isConnectionFailure(thrown) || attempt === ATTEMPTS || this.budget.left === 0) throw thrown;
        // the answer was lost; the server may have done it
        const found = (await this.objects.of(this.uuid)).find((object) => this.#isOurs(object));
        if (found !== undefined) return (this.#mine = found.id);
      }
    }
  }

  async finish(id: string): Promise<void> {
    try {
      await this.#confirm();
    } catch (thrown) {
      await this.objects.discard(id, this.uuid).catch(() => undefined);
      throw thrown;
    }
    await this.objects.activate(id);
  }

  remove(id: string): Promise<void> {
    return this.objects.discard(id, this.uuid);
  }

  #isOurs({ attributes }: KeyObject): boolean {
    const read = readInformation(attributes, this.uuid);
    return read.kind === "information" && read.information.writer === this.#writer;
  }
}
