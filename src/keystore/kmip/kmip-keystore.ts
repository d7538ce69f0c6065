import { setMaxListeners } from "node:events";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { KeyRecord } from "../../generated/key-record.js";
import isKeyRecord from "../../generated/validate-key-record.cjs";
import type { SettingsOf } from "../index.js";
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
import {
  connectionFailedAs,
  isRefusedAsMissing,
  isRefusedAsTaken,
  isRefusedAsUnknown,
  nameIsUnique,
  Refusal,
  refusedAs,
} from "./failures.js";
import { KeyName } from "./key-name.js";
import { type KeyObject, KeyObjects } from "./key-objects.js";
import { KmipClient } from "./kmip-client.js";
import { isFinished, ObjectReader } from "./object-reader.js";
import { queryOperations } from "./operations.js";
import { informationIn, informationText } from "./stored-information.js";
import { REASON } from "./tags.js";

interface Storing {
  readonly objects: KeyObjects;
  readonly uuid: KeyUuid;
  readonly key: Key;
  readonly budget: Budget;
  /** What the caller has read, if he wants no other to be replaced. */
  readonly expected: KeyRecord | undefined;
}

/** How often something is looked at again that changed meanwhile. */
const LOOKS = 3;

/**
 * Keys as objects of a key manager that speaks KMIP (docs/decisions/012-kmip-objects.md). An object is a key when it
 * is Active. One that is Pre-Active is being stored, or was left by a writer that was killed: nobody uses it. The state
 * of our key record has nothing to do with that. Of two of different generations the higher one is the key: its
 * passphrase is being replaced.
 */
export class KmipKeystore implements Keystore, KeyDeleter, KeyLister, KeyTester {
  readonly type = "kmip";
  readonly name: string;
  readonly #settings: SettingsOf<"kmip">;
  readonly #client: KmipClient;
  readonly #read: ObjectReader;

  constructor(settings: SettingsOf<"kmip">) {
    this.name = settings.name;
    this.#settings = settings;
    this.#client = new KmipClient(settings);
    this.#read = new ObjectReader(this.#client.place);
  }

  async store(key: Key): Promise<void> {
    const uuid = this.#storable(key.record);
    const outcome = await this.#speaking(async (objects, budget) => {
      try {
        return await this.#storeUnique(new KeyName(objects, uuid, key, budget), budget);
      } catch (thrown) {
        // somebody else stores it at this moment, on a server that gives a name only once
        if (isRefusedAsTaken(thrown)) return "taken";
        throw thrown;
      }
    });
    if (outcome === "stored") return;
    throw keyExists(this.name, uuid);
  }

  #storeUnique(name: KeyName, budget: Budget): Promise<"stored" | "taken"> {
    // half of what one operation may take: whoever waits so long can still store
    return storeUnique(name, budget, (this.#settings.timeout * 1000) / 2);
  }

  async fetch(uuid: KeyUuid): Promise<Key | undefined> {
    return this.#speaking(async (objects) => {
      for (let look = 1; ; look++) {
        const key = this.#read.key(await objects.open(uuid), uuid);
        if (!(key instanceof Refusal)) return key;
        // deleted between two answers, unless it is listed again
        if (!isRefusedAsMissing(key) || look === LOOKS) throw key;
      }
    });
  }

  async change(uuid: KeyUuid, change: RecordChange): Promise<KeyRecord> {
    const kept = keepingKey(this.name, change);
    return this.#speaking((objects, budget) => {
      const shared = {
        rewrite: () => this.#rewrite(objects, uuid, kept),
        read: () => this.#record(objects, uuid),
      };
      return changeSettled(shared, { keystore: this.name, uuid }, budget);
    });
  }

  async update(record: KeyRecord): Promise<void> {
    const uuid = parseKeyUuid(record.uuid);
    if (uuid === undefined) throw keyNotFound(this.name, record.uuid);
    this.#storable(record);
    await this.#speaking((objects) => this.#rewrite(objects, uuid, updatedTo(this.name, record)));
  }

  /** @throws KEY_NOT_FOUND, KEYSTORE_WRITE_FAILED, and what `change` throws */
  async #rewrite(objects: KeyObjects, uuid: KeyUuid, change: RecordChange): Promise<Rewritten> {
    let tried: KeyRecord | undefined;
    for (let look = 1; ; look++) {
      const begun = performance.now();
      const { newest: object, former } = this.#read.generations(await objects.of(uuid), uuid);
      if (object === undefined) throw keyNotFound(this.name, uuid);
      const { writer, record } = this.#read.active(object, uuid);
      // what a replacement has left that was killed
      await objects.destroy(former, uuid);
      const current = informationIn(object.attributes);
      // what a message has made whose answer was lost is not changed once more
      if (current === undefined || (tried !== undefined && isSameRecord(record, tried)))
        return { record, took: performance.now() - begun };
      const changed = change(record);
      if (isSameRecord(record, changed)) return { record, took: 0 };
      this.#storable(changed);
      tried = changed;
      try {
        await objects.replaceInformation(object.id, current, informationText({ writer, record: changed }));
        return { record: changed, took: performance.now() - begun };
      } catch (thrown) {
        // somebody else has changed it, or we have, and the answer was lost
        if (!isChangedMeanwhile(thrown) || look === LOOKS) throw thrown;
      }
    }
  }

  /** Undefined if there is no such key. */
  async #record(objects: KeyObjects, uuid: KeyUuid): Promise<KeyRecord | undefined> {
    const object = this.#read.generations(await objects.of(uuid), uuid).newest;
    return object && this.#read.information(object, uuid).record;
  }

  async replace(key: Key, expected?: KeyRecord): Promise<void> {
    const uuid = this.#storable(key.record);
    await this.#speaking(async (objects, budget) => {
      const opened = await objects.open(uuid);
      const current = this.#read.key(opened, uuid);
      if (current === undefined) throw keyNotFound(this.name, uuid);
      if (current instanceof Refusal) throw current;
      using passphrase = current.passphrase;
      const { record } = current;
      if (isReplacedBy({ record, passphrase }, key)) {
        await objects.destroy(this.#read.generations(opened, uuid).former, uuid);
        return;
      }
      requireExpected(this.name, record, expected);
      if (passphrase.equals(key.passphrase)) await this.#rewrite(objects, uuid, () => key.record);
      else {
        requireNewer(this.name, { record, passphrase }, key);
        const storing = { objects, uuid, key, budget, expected };
        await this.#storeBeside(opened.filter(isFinished), storing);
      }
    });
  }

  /** An object is for good: the new passphrase gets one of its own, and the former ones go once it is active. */
  async #storeBeside(
    former: readonly KeyObject[],
    { objects, uuid, key, budget, expected }: Storing,
  ): Promise<void> {
    const ids = new Set(former.map(({ id }) => id));
    const confirm = async () => {
      if (expected === undefined) return;
      const left = (await objects.of(uuid)).filter(({ id }) => ids.has(id));
      const now = this.#read.generations(left, uuid).newest;
      if (now === undefined) throw changedMeanwhile(this.name, uuid);
      requireExpected(this.name, this.#read.information(now, uuid).record, expected);
    };
    const name = new KeyName(objects, uuid, key, budget, { objects: former, confirm });
    const outcome = await this.#storeUnique(name, budget).catch((thrown: unknown) => {
      throw isRefusedAsTaken(thrown) ? nameIsUnique(this.#client.place, uuid, thrown) : thrown;
    });
    if (outcome === "taken")
      throw expected === undefined ? replacedMeanwhile(this.name, uuid) : changedMeanwhile(this.name, uuid);
    await objects.destroy(former, uuid);
  }

  async find(query: KeyQuery): Promise<KeyRecord[]> {
    return (await this.list()).filter((record) => matchesQuery(record, query));
  }

  /** @throws KEY_CORRUPT if a single record is damaged: an answer without it would say that there is no such key */
  async list(): Promise<KeyRecord[]> {
    const objects = await this.#speaking((all) => all.inGroup());
    return newestOfEach(objects.filter(isFinished).map((object) => this.#read.information(object).record));
  }

  async delete(uuid: KeyUuid): Promise<void> {
    await this.#speaking(async (objects) => {
      await objects.destroyAll(uuid);
    });
  }

  async test(passed: (check: KeystoreCheck) => void = () => undefined): Promise<void> {
    const told = new Set<KeystoreCheck>();
    const tell = (check: KeystoreCheck) => {
      if (!told.has(check)) passed(check);
      told.add(check);
    };
    await this.#speaking((_, budget) =>
      this.#client.reconnecting(tell, async () => {
        await this.#client.ask(queryOperations(), budget).catch(ignoreUnlessUnknown);
      }),
    );
    tell("authenticated");
    await testRoundTrip(this);
    tell("round trip");
  }

  /** @throws KEYSTORE_WRITE_FAILED for what `fetch` would refuse to read */
  #storable(record: KeyRecord): KeyUuid {
    const uuid = parseKeyUuid(record.uuid);
    if (uuid !== undefined && isKeyRecord(record)) return uuid;
    throw new LuksmithError("KEYSTORE_WRITE_FAILED", {
      what: `cannot store key ${record.uuid}`,
      why: uuid === undefined ? "its UUID is malformed" : "its record is malformed",
    });
  }

  /** Gives `work` the time of one operation, and turns what the server refused into what people read. */
  async #speaking<T>(work: (objects: KeyObjects, budget: Budget) => Promise<T>): Promise<T> {
    const { group, object, timeout } = this.#settings;
    const budget = new Budget(1000 * timeout);
    // every question of the operation waits for it
    setMaxListeners(0, budget.signal);
    try {
      return await work(new KeyObjects(this.#client, group, object, budget), budget);
    } catch (thrown) {
      const { place, asker } = this.#client;
      if (!(thrown instanceof Refusal)) throw connectionFailedAs(place, thrown, asker);
      throw refusedAs(place, thrown, asker, await this.#offered(thrown, budget));
    }
  }

  /** Which operations the server has, where one is missing. */
  async #offered({ reason }: Refusal, budget: Budget): Promise<readonly string[] | undefined> {
    if (reason !== REASON.OperationNotSupported) return undefined;
    return this.#client.ask(queryOperations(), budget).catch(() => undefined);
  }
}

function isChangedMeanwhile(thrown: unknown): boolean {
  if (isRefusedAsMissing(thrown)) return true;
  if (!(thrown instanceof Refusal)) return false;
  return thrown.reason === REASON.AttributeNotFound || thrown.reason === REASON.AttributeInstanceNotFound;
}

/** A server that does not answer Query knows us all the same. */
function ignoreUnlessUnknown(thrown: unknown): void {
  if (!(thrown instanceof Refusal) || isRefusedAsUnknown(thrown)) throw thrown;
}
