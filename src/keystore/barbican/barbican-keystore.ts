import { isDeepStrictEqual } from "node:util";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { KeyRecord } from "../../generated/key-record.js";
import type { Secret } from "../../secret/secret.js";
import type { KeystoreResources, SettingsOf } from "../index.js";
import { keyExists, keyNotFound } from "../key-presence.js";
import { matchesQuery } from "../key-query.js";
import { type KeyUuid, parseKeyUuid } from "../key-uuid.js";
import type {
  Key,
  KeyDeleter,
  KeyLister,
  KeyQuery,
  Keystore,
  KeystoreCheck,
  KeyTester,
} from "../keystore.js";
import { Budget } from "../remote/budget.js";
import { storeUnique } from "../remote/unique-store.js";
import { testRoundTrip } from "../round-trip.js";
import { isAbandoned, removeUnfinished } from "./abandoned.js";
import type { BarbicanAccess } from "./barbican-access.js";
import { BarbicanClient } from "./barbican-client.js";
import { corrupt, inUse } from "./key-errors.js";
import { KeystoneAccess } from "./keystone-access.js";
import { consumerOf, NewSecret, PATIENCE } from "./new-secret.js";
import { ProjectAccess } from "./project-access.js";
import { type Metadata, othersIn, type Parsed, recordIn, toMetadata } from "./record-metadata.js";
import type { Consumer, SecretEntry } from "./secret-entry.js";
import { Secrets } from "./secrets.js";

/** A secret that has a payload, and so is a key. */
type Finished = SecretEntry & { readonly uuid: KeyUuid; readonly contentType: string };

const ATTEMPTS = 3;
/** Milliseconds between two looks at what others may be changing. */
const PAUSE = 100;
/** Records that are read under one time limit. */
const BATCH = 100;

/**
 * OpenStack's key manager. A key is a secret of type passphrase: its payload is the passphrase, its mode names the key's
 * UUID (secret-entry.ts), its user metadata is the key record (record-metadata.ts). A secret without payload is nobody's
 * key. One without our mode is somebody else's, and is neither read nor changed.
 */
export class BarbicanKeystore implements Keystore, KeyDeleter, KeyLister, KeyTester {
  readonly type = "barbican";
  readonly name: string;
  readonly #settings: SettingsOf<"barbican">;
  readonly #client: BarbicanClient;
  readonly #secrets: Secrets;
  /** When Barbican made the secret of the last key that was stored here, by its own clock. */
  #lastCreated = "";

  /** @throws SETTINGS_INVALID */
  constructor(
    settings: SettingsOf<"barbican">,
    resources: KeystoreResources,
    access: BarbicanAccess = accessOf(settings, resources),
  ) {
    this.name = settings.name;
    this.#settings = settings;
    this.#client = new BarbicanClient(settings, access);
    this.#secrets = new Secrets(this.#client);
  }

  async store(key: Key): Promise<void> {
    const { record } = key;
    const uuid = this.#storable(record);
    const budget = this.#budget();
    if ((await this.#storeUnique(key, uuid, budget)) === "stored") return;
    throw keyExists(this.name, uuid);
  }

  async fetch(uuid: KeyUuid): Promise<Key | undefined> {
    const budget = this.#budget();
    return this.#whole(await this.#find(uuid, budget), budget, (entry) => this.#read(entry, budget));
  }

  async update(record: KeyRecord): Promise<void> {
    const uuid = parseKeyUuid(record.uuid);
    if (uuid !== undefined && (await this.#replace(record, uuid, this.#budget())) === "written") return;
    throw keyNotFound(this.name, record.uuid);
  }

  async find(query: KeyQuery): Promise<KeyRecord[]> {
    return (await this.list()).filter((record) => matchesQuery(record, query));
  }

  /** @throws KEY_CORRUPT if a single record is damaged: an answer without it would say that there is no such key */
  async list(): Promise<KeyRecord[]> {
    const entries = (await this.#secrets.all(() => this.#budget())).filter(isFinished);
    const records: KeyRecord[] = [];
    for (let start = 0; start < entries.length; start += BATCH) {
      const budget = this.#budget();
      const batch = entries.slice(start, start + BATCH).map((entry) => this.#record(entry, budget));
      records.push(...(await Promise.all(batch)).flat());
    }
    return records;
  }

  async delete(uuid: KeyUuid): Promise<void> {
    const budget = this.#budget();
    const entries = await this.#secrets.under(uuid, budget, "consumers");
    for (const { consumers = [] } of entries) {
      const others = consumers.filter((consumer) => !isOurs(consumer, uuid));
      if (others.length > 0) throw inUse(this.name, uuid, others);
    }
    // Barbican takes our own registration away with the secret
    await Promise.all(entries.map(({ id }) => this.#secrets.remove(id, budget)));
  }

  async test(passed: (check: KeystoreCheck) => void = () => undefined): Promise<void> {
    const budget = this.#budget();
    await this.#client.discover(budget);
    passed("reached");
    const { address } = await this.#client.place(budget);
    if (address.startsWith("https:")) passed("TLS");
    const entries = await this.#secrets.all(() => this.#budget());
    passed("authenticated");
    await testRoundTrip(this);
    passed("round trip");
    for (const entry of entries)
      if (isAbandoned(entry, this.#lastCreated))
        await removeUnfinished(this.#secrets, entry.id, this.#budget());
  }

  async #replace(record: KeyRecord, uuid: KeyUuid, budget: Budget): Promise<"written" | "absent"> {
    const replaced = await this.#whole(await this.#find(uuid, budget), budget, async (entry) => {
      const metadata = await this.#secrets.metadata(entry.id, budget);
      if (metadata === undefined) return undefined;
      // what is damaged is mended by hand, not written over
      this.#recordIn(metadata, entry);
      return this.#secrets.writeMetadata(entry.id, { ...othersIn(metadata), ...toMetadata(record) }, budget);
    });
    return replaced ?? "absent";
  }

  /** The secret of the key `uuid`. @throws KEY_CORRUPT if there are several: which one opens the disk is not guessed */
  async #find(uuid: KeyUuid, budget: Budget): Promise<Finished | undefined> {
    for (let count = 1; ; count++) {
      const [entry, another] = (await this.#secrets.under(uuid, budget)).filter(isFinished);
      if (another === undefined) return entry;
      if (count === ATTEMPTS)
        throw corrupt(this.name, uuid, `the secrets ${entry?.id} and ${another.id} both are this key`);
      await budget.pause(PAUSE);
    }
  }

  /**
   * What `read` finds of a secret that was listed; looks again where it finds none: it was deleted between the two, or
   * is not yet on the server that has answered.
   * @returns undefined if it is not listed any more
   * @throws KEY_CORRUPT if it still is
   */
  async #whole<T>(
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
        throw corrupt(this.name, uuid, `its secret ${id} is listed, and has no metadata or no payload`);
      await budget.pause(PAUSE);
      entry = await this.#find(uuid, budget);
    }
    return undefined;
  }

  /** Undefined if the secret is there no more. */
  async #read(entry: Finished, budget: Budget): Promise<Key | undefined> {
    const payload = this.#secrets.payload(entry.id, entry.contentType, budget);
    try {
      const [metadata, passphrase] = await Promise.all([this.#secrets.metadata(entry.id, budget), payload]);
      if (metadata !== undefined && passphrase !== undefined) {
        return { record: this.#recordIn(metadata, entry), passphrase };
      }
    } catch (thrown) {
      void dispose(payload);
      throw thrown;
    }
    await dispose(payload);
    return undefined;
  }

  /** None if the secret was deleted by somebody else. */
  async #record(listed: Finished, budget: Budget): Promise<KeyRecord[]> {
    const record = await this.#whole(listed, budget, async (entry) => {
      const metadata = await this.#secrets.metadata(entry.id, budget);
      return metadata === undefined ? undefined : this.#recordIn(metadata, entry);
    });
    return record === undefined ? [] : [record];
  }

  #recordIn(metadata: Metadata, { id, uuid }: Finished): KeyRecord {
    const parsed = recordIn(metadata, uuid);
    switch (parsed.kind) {
      case "record":
        return parsed.record;
      case "damaged":
        throw corrupt(this.name, uuid, `the metadata of secret ${id} ${parsed.reason}`);
    }
  }

  async #storeUnique(key: Key, uuid: KeyUuid, budget: Budget): Promise<"stored" | "taken"> {
    const secret = new NewSecret(this.#secrets, key, uuid, budget);
    try {
      const outcome = await storeUnique(secret, budget, PATIENCE);
      if (outcome === "stored") this.#lastCreated = secret.created;
      return outcome;
    } catch (thrown) {
      // what Barbican does in time is a LuksmithError: time has run out while another writer was waited for
      if (!budget.signal.aborted || thrown instanceof LuksmithError) throw thrown;
      throw new LuksmithError("KEYSTORE_UNAVAILABLE", {
        what: `cannot store key ${uuid}`,
        why: `somebody has begun to store a key of this UUID in keystore ${this.name}, and has not finished`,
        hint: "try again",
        cause: thrown,
      });
    }
  }

  /** What `fetch` would refuse to read is never written. */
  #storable(record: KeyRecord): KeyUuid {
    const uuid = parseKeyUuid(record.uuid);
    const why = uuid === undefined ? "its UUID is malformed" : problemOf(recordIn(toMetadata(record), uuid));
    if (uuid !== undefined && why === undefined) return uuid;
    throw new LuksmithError("KEYSTORE_WRITE_FAILED", {
      what: `cannot store key ${record.uuid}`,
      ...(why === undefined ? {} : { why }),
    });
  }

  /** The time of one operation. */
  #budget(): Budget {
    return new Budget(1000 * this.#settings.timeout);
  }
}

function accessOf(settings: SettingsOf<"barbican">, resources: KeystoreResources): BarbicanAccess {
  return settings.keystone === undefined
    ? new ProjectAccess(settings)
    : new KeystoneAccess(settings, resources);
}

function isFinished(entry: SecretEntry): entry is Finished {
  return entry.uuid !== undefined && entry.contentType !== undefined;
}

function isOurs(consumer: Consumer, uuid: KeyUuid): boolean {
  return isDeepStrictEqual(consumer, consumerOf(uuid));
}

function problemOf(parsed: Parsed): string | undefined {
  return parsed.kind === "damaged" ? `its record ${parsed.reason}` : undefined;
}

async function dispose(payload: Promise<Secret | undefined>): Promise<void> {
  (await payload.catch(() => undefined))?.dispose();
}
