import type { KeyRecord } from "../../generated/key-record.js";
import type { Secret } from "../../secret/secret.js";
import type { KeyUuid } from "../key-uuid.js";
import type { Key } from "../keystore.js";
import type { Budget } from "../remote/budget.js";
import { generationOf } from "../replacement.js";
import { corrupt } from "./key-errors.js";
import { type Metadata, recordIn } from "./record-metadata.js";
import type { SecretEntry } from "./secret-entry.js";
import type { Secrets } from "./secrets.js";

/** A secret that has a payload, and so is a key. */
export type Finished = SecretEntry & { readonly uuid: KeyUuid; readonly contentType: string };

/** Secrets of one key; there are former ones while it is replaced, or after somebody was killed at that. */
interface Generations {
  readonly newest: Finished | undefined;
  readonly former: readonly Finished[];
}

const ATTEMPTS = 3;
/** Milliseconds between two looks at what others may be changing. */
const PAUSE = 100;

/** The secrets that are keys, and what is in them. */
export class KeySecrets {
  /** @param keystore its name in the settings */
  constructor(
    private readonly keystore: string,
    private readonly secrets: Secrets,
  ) {}

  /** The secret of the key `uuid`. @throws KEY_CORRUPT */
  async find(uuid: KeyUuid, budget: Budget): Promise<Finished | undefined> {
    return (await this.look(uuid, budget)).newest;
  }

  /**
   * The secret of the key `uuid`, and those with its former passphrases, which are on their way out.
   * @throws KEY_CORRUPT if there are several of one generation: which one opens the disk is not guessed
   */
  async look(uuid: KeyUuid, budget: Budget): Promise<Generations> {
    for (let count = 1; ; count++) {
      const entries = (await this.secrets.under(uuid, budget)).filter(isFinished);
      const [entry, another] = entries;
      if (another === undefined) return { newest: entry, former: [] };
      const generations = await this.#byGeneration(entries, budget);
      if (generations !== undefined) return generations;
      if (count === ATTEMPTS)
        throw corrupt(this.keystore, uuid, `the secrets ${entry?.id} and ${another.id} both are this key`);
      await budget.pause(PAUSE);
    }
  }

  /** Undefined if nobody can tell which is the newest, or one was removed meanwhile. */
  async #byGeneration(entries: readonly Finished[], budget: Budget): Promise<Generations | undefined> {
    const read = entries.map(async (entry) => {
      const metadata = await this.secrets.metadata(entry.id, budget);
      return metadata && { entry, generation: generationOf(this.recordIn(metadata, entry)) };
    });
    const found = (await Promise.all(read)).filter((one) => one !== undefined);
    const [newest, ...former] = found.sort((a, b) => b.generation - a.generation);
    if (found.length < entries.length || newest?.generation === former[0]?.generation) return undefined;
    return { newest: newest?.entry, former: former.map(({ entry }) => entry) };
  }

  /**
   * What `read` finds of a secret that was listed; looks again where it finds none: it was deleted between the two, or
   * is not yet on the server that has answered.
   * @returns undefined if it is not listed any more
   * @throws KEY_CORRUPT if it still is
   */
  async whole<T>(
    listed: Finished | undefined,
    budget: Budget,
    read: (entry: Finished) => Promise<T | undefined>,
  ): Promise<T | undefined> {
    let entry = listed;
    for (let count = 1; entry !== undefined; count++) {
      const found = await read(entry);
      if (found !== undefined) return found;
      const { id, uuid } = entry;
      if (count === ATTEMPTS)
        throw corrupt(this.keystore, uuid, `its secret ${id} is listed, and has no metadata or no payload`);
      await budget.pause(PAUSE);
      entry = await this.find(uuid, budget);
    }
    return undefined;
  }

  /** Undefined if the secret is there no more. */
  async read(entry: Finished, budget: Budget): Promise<Key | undefined> {
    const payload = this.secrets.payload(entry.id, entry.contentType, budget);
    try {
      const [metadata, passphrase] = await Promise.all([this.secrets.metadata(entry.id, budget), payload]);
      if (metadata !== undefined && passphrase !== undefined) {
        return { record: this.recordIn(metadata, entry), passphrase };
      }
    } catch (thrown) {
      void dispose(payload);
      throw thrown;
    }
    await dispose(payload);
    return undefined;
  }

  /** None if the secret was deleted by somebody else. */
  async record(listed: Finished, budget: Budget): Promise<KeyRecord[]> {
    const record = await this.whole(listed, budget, async (entry) => {
      const metadata = await this.secrets.metadata(entry.id, budget);
      return metadata === undefined ? undefined : this.recordIn(metadata, entry);
    });
    return record === undefined ? [] : [record];
  }

  recordIn(metadata: Metadata, { id, uuid }: Finished): KeyRecord {
    const parsed = recordIn(metadata, uuid);
    switch (parsed.kind) {
      case "record":
        return parsed.record;
      case "damaged":
        throw corrupt(this.keystore, uuid, `the metadata of secret ${id} ${parsed.reason}`);
    }
  }
}

export function isFinished(entry: SecretEntry): entry is Finished {
  return entry.uuid !== undefined && entry.contentType !== undefined;
}

async function dispose(payload: Promise<Secret | undefined>): Promise<void> {
  (await payload.catch(() => undefined))?.dispose();
}
