import { isDeepStrictEqual } from "node:util";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { KeyRecord } from "../../generated/key-record.js";
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
  RecordChange,
} from "../keystore.js";
import { changedMeanwhile, isSameRecord, keepingKey, requireExpected, updatedTo } from "../record-change.js";
import { Budget } from "../remote/budget.js";
import { changeSettled, type Rewritten } from "../remote/settled-change.js";
import { storeUnique } from "../remote/unique-store.js";
import { isReplacedBy, newestOfEach, replacedMeanwhile, requireNewer } from "../replacement.js";
import { testRoundTrip } from "../round-trip.js";
import { isAbandoned, removeUnfinished } from "./abandoned.js";
import type { BarbicanAccess } from "./barbican-access.js";
import { BarbicanClient } from "./barbican-client.js";
import { inUse } from "./key-errors.js";
import { type Finished, isFinished, KeySecrets } from "./key-secrets.js";
import { KeystoneAccess } from "./keystone-access.js";
import { type Beside, consumerOf, NewSecret, PATIENCE } from "./new-secret.js";
import { ProjectAccess } from "./project-access.js";
import { othersIn, type Parsed, recordIn, toMetadata } from "./record-metadata.js";
import type { Consumer, SecretEntry } from "./secret-entry.js";
import { Secrets } from "./secrets.js";

interface Replacement {
  readonly key: Key;
  readonly uuid: KeyUuid;
  readonly budget: Budget;
  /** What the caller has read, if he wants no other to be replaced. */
  readonly expected: KeyRecord | undefined;
}

/** Records that are read under one time limit. */
const BATCH = 100;

/**
 * OpenStack's key manager. A key is a secret of type passphrase: its payload is the passphrase, its mode names the key's
 * UUID (secret-entry.ts), its user metadata is the key record (record-metadata.ts). A secret without payload is nobody's
 * key. One without our mode is somebody else's, and is neither read nor changed. Of two of different generations the
 * higher one is the key: its passphrase is being replaced.
 */
export class BarbicanKeystore implements Keystore, KeyDeleter, KeyLister, KeyTester {
  readonly type = "barbican";
  readonly name: string;
  readonly #settings: SettingsOf<"barbican">;
  readonly #client: BarbicanClient;
  readonly #secrets: Secrets;
  readonly #keys: KeySecrets;
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
    this.#keys = new KeySecrets(settings.name, this.#secrets);
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
    return this.#keys.whole(await this.#keys.find(uuid, budget), budget, (entry) =>
      this.#keys.read(entry, budget),
    );
  }

  async change(uuid: KeyUuid, change: RecordChange): Promise<KeyRecord> {
    const budget = this.#budget();
    const kept = keepingKey(this.name, change);
    const shared = {
      rewrite: () => this.#rewrite(uuid, kept, budget),
      read: () => this.#record(uuid, budget),
    };
    return changeSettled(shared, { keystore: this.name, uuid }, budget);
  }

  async update(record: KeyRecord): Promise<void> {
    const uuid = parseKeyUuid(record.uuid);
    if (uuid === undefined) throw keyNotFound(this.name, record.uuid);
    await this.#rewrite(uuid, updatedTo(this.name, record), this.#budget());
  }

  async replace(key: Key, expected?: KeyRecord): Promise<void> {
    const uuid = this.#storable(key.record);
    const budget = this.#budget();
    const { newest, former } = await this.#keys.look(uuid, budget);
    const current = await this.#keys.whole(newest, budget, (entry) => this.#keys.read(entry, budget));
    if (newest === undefined || current === undefined) throw keyNotFound(this.name, uuid);
    using passphrase = current.passphrase;
    const { record } = current;
    if (isReplacedBy({ record, passphrase }, key)) await this.#remove(former, budget);
    else if (passphrase.equals(key.passphrase)) {
      requireExpected(this.name, record, expected);
      await this.#rewrite(uuid, () => key.record, budget);
    } else {
      requireExpected(this.name, record, expected);
      requireNewer(this.name, { record, passphrase }, key);
      await this.#requireUnused(uuid, budget);
      await this.#storeBeside([newest, ...former], { key, uuid, budget, expected });
    }
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
      const batch = entries.slice(start, start + BATCH).map((entry) => this.#keys.record(entry, budget));
      records.push(...(await Promise.all(batch)).flat());
    }
    return newestOfEach(records);
  }

  async delete(uuid: KeyUuid): Promise<void> {
    const budget = this.#budget();
    await this.#remove(await this.#requireUnused(uuid, budget), budget);
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

  /** @throws KEY_NOT_FOUND, KEYSTORE_WRITE_FAILED, and what `change` throws */
  async #rewrite(uuid: KeyUuid, change: RecordChange, budget: Budget): Promise<Rewritten> {
    const { newest, former } = await this.#keys.look(uuid, budget);
    // what a replacement has left that was killed
    await this.#remove(former, budget);
    const rewritten = await this.#keys.whole(newest, budget, async (entry) => {
      const begun = performance.now();
      const metadata = await this.#secrets.metadata(entry.id, budget);
      if (metadata === undefined) return undefined;
      // what is damaged is mended by hand, not written over
      const current = this.#keys.recordIn(metadata, entry);
      const record = change(current);
      if (isSameRecord(record, current)) return { record: current, took: 0 };
      this.#storable(record);
      const changed = { ...othersIn(metadata), ...toMetadata(record) };
      // its passphrase is replaced meanwhile, and it has a new secret
      if ((await this.#secrets.writeMetadata(entry.id, changed, budget)) === "absent") return undefined;
      return { record, took: performance.now() - begun };
    });
    if (rewritten === undefined) throw keyNotFound(this.name, uuid);
    return rewritten;
  }

  /** Undefined if there is no such key. */
  async #record(uuid: KeyUuid, budget: Budget): Promise<KeyRecord | undefined> {
    const newest = await this.#keys.find(uuid, budget);
    return newest && (await this.#keys.record(newest, budget))[0];
  }

  /** Those under `uuid`, finished or not. @throws KEY_IN_USE if others have registered that they use one */
  async #requireUnused(uuid: KeyUuid, budget: Budget): Promise<SecretEntry[]> {
    const entries = await this.#secrets.under(uuid, budget, "consumers");
    for (const { consumers = [] } of entries) {
      const others = consumers.filter((consumer) => !isOurs(consumer, uuid));
      if (others.length > 0) throw inUse(this.name, uuid, others);
    }
    return entries;
  }

  /** Barbican takes our own registrations away with the secrets. */
  async #remove(entries: readonly SecretEntry[], budget: Budget): Promise<void> {
    await Promise.all(entries.map(({ id }) => this.#secrets.remove(id, budget)));
  }

  /** A payload is for good: the new one gets a secret of its own, and the former ones go once it is finished. */
  async #storeBeside(
    former: readonly [Finished, ...Finished[]],
    { key, uuid, budget, expected }: Replacement,
  ): Promise<void> {
    const confirm = async () => {
      if (expected === undefined) return;
      const [now] = await this.#keys.record(former[0], budget);
      if (now === undefined) throw changedMeanwhile(this.name, uuid);
      requireExpected(this.name, now, expected);
    };
    if ((await this.#storeUnique(key, uuid, budget, { secrets: former, confirm })) === "taken")
      throw expected === undefined ? replacedMeanwhile(this.name, uuid) : changedMeanwhile(this.name, uuid);
    await this.#remove(former, budget);
  }

  /** @param beside what is under the UUID and may stay there */
  async #storeUnique(key: Key, uuid: KeyUuid, budget: Budget, beside?: Beside): Promise<"stored" | "taken"> {
    const secret = new NewSecret(this.#secrets, key, uuid, budget, beside);
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

function isOurs(consumer: Consumer, uuid: KeyUuid): boolean {
  return isDeepStrictEqual(consumer, consumerOf(uuid));
}

function problemOf(parsed: Parsed): string | undefined {
  return parsed.kind === "damaged" ? `its record ${parsed.reason}` : undefined;
}
