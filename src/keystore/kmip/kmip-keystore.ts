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
} from "../keystore.js";
import { Budget } from "../remote/budget.js";
import { forbidden, quoted } from "../remote/failures.js";
import { storeUnique } from "../remote/unique-store.js";
import { testRoundTrip } from "../round-trip.js";
import {
  connectionFailedAs,
  corrupt,
  isRefusedAsMissing,
  isRefusedAsTaken,
  isRefusedAsUnknown,
  Refusal,
  refusedAs,
} from "./failures.js";
import { KeyName } from "./key-name.js";
import { type KeyObject, KeyObjects, type OpenedObject } from "./key-objects.js";
import { KmipClient } from "./kmip-client.js";
import { queryOperations } from "./operations.js";
import {
  informationIn,
  informationText,
  readInformation,
  type StoredInformation,
} from "./stored-information.js";
import { REASON, STATE } from "./tags.js";

/** How often something is looked at again that changed meanwhile. */
const LOOKS = 3;

/**
 * Keys as objects of a key manager that speaks KMIP (docs/decisions/012-kmip-objects.md). An object is a key when it
 * is Active. One that is Pre-Active is being stored, or was left by a writer that was killed: nobody uses it. The state
 * of our key record has nothing to do with that.
 */
export class KmipKeystore implements Keystore, KeyDeleter, KeyLister, KeyTester {
  readonly type = "kmip";
  readonly name: string;
  readonly #settings: SettingsOf<"kmip">;
  readonly #client: KmipClient;

  constructor(settings: SettingsOf<"kmip">) {
    this.name = settings.name;
    this.#settings = settings;
    this.#client = new KmipClient(settings);
  }

  async store(key: Key): Promise<void> {
    const uuid = this.#storable(key.record);
    const outcome = await this.#speaking(async (objects, budget) => {
      // half of what one operation may take: whoever waits so long can still store
      const patience = (this.#settings.timeout * 1000) / 2;
      try {
        return await storeUnique(new KeyName(objects, uuid, key, budget), budget, patience);
      } catch (thrown) {
        // somebody else stores it at this moment, on a server that gives a name only once
        if (isRefusedAsTaken(thrown)) return "taken";
        throw thrown;
      }
    });
    if (outcome === "stored") return;
    throw keyExists(this.name, uuid);
  }

  async fetch(uuid: KeyUuid): Promise<Key | undefined> {
    return this.#speaking(async (objects) => {
      for (let look = 1; ; look++) {
        const key = this.#keyIn(await objects.open(uuid), uuid);
        if (!(key instanceof Refusal)) return key;
        // deleted between two answers, unless it is listed again
        if (!isRefusedAsMissing(key) || look === LOOKS) throw key;
      }
    });
  }

  async update(record: KeyRecord): Promise<void> {
    const uuid = parseKeyUuid(record.uuid);
    if (uuid === undefined) throw keyNotFound(this.name, record.uuid);
    this.#storable(record);
    await this.#speaking(async (objects) => {
      for (let look = 1; ; look++) {
        const object = this.#onlyFinished(await objects.of(uuid), uuid);
        if (object === undefined) throw keyNotFound(this.name, uuid);
        const { writer } = this.#activeInformation(object, uuid);
        const current = informationIn(object.attributes);
        const changed = informationText({ writer, record });
        if (current === undefined || current.data === changed) return;
        try {
          await objects.replaceInformation(object.id, current, changed);
          return;
        } catch (thrown) {
          // somebody else has changed it, or we have, and the answer was lost
          if (!isChangedMeanwhile(thrown) || look === LOOKS) throw thrown;
        }
      }
    });
  }

  async find(query: KeyQuery): Promise<KeyRecord[]> {
    return (await this.list()).filter((record) => matchesQuery(record, query));
  }

  /** @throws KEY_CORRUPT if a single record is damaged: an answer without it would say that there is no such key */
  async list(): Promise<KeyRecord[]> {
    const objects = await this.#speaking((all) => all.inGroup());
    return objects
      .filter(({ attributes }) => attributes.state !== STATE.PreActive)
      .map((object) => this.#information(object).record);
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

  /** The key, or the server's refusal to give it out; the passphrases of all other objects are wiped. */
  #keyIn(opened: readonly OpenedObject[], uuid: KeyUuid): Key | Refusal | undefined {
    let key: Key | Refusal | undefined;
    try {
      const object = this.#onlyFinished(opened, uuid);
      if (object === undefined) return undefined;
      const { record } = this.#activeInformation(object, uuid);
      const { passphrase } = object;
      return (key = passphrase instanceof Refusal ? passphrase : { record, passphrase });
    } finally {
      for (const { passphrase } of opened) {
        const isGiven = key !== undefined && "passphrase" in key && key.passphrase === passphrase;
        if (!isGiven && !(passphrase instanceof Refusal)) passphrase.dispose();
      }
    }
  }

  /** @throws KEY_CORRUPT if there are several: nobody can say which one the disk was formatted with */
  #onlyFinished<T extends KeyObject>(objects: readonly T[], uuid: KeyUuid): T | undefined {
    const [only, ...more] = objects.filter(({ attributes }) => attributes.state !== STATE.PreActive);
    if (more.length === 0) return only;
    const ids = objects.map(({ id }) => quoted(id)).join(", ");
    throw corrupt(this.#client.place, `there are several objects of the name of key ${uuid}: ${ids}`);
  }

  /** @throws KEYSTORE_FORBIDDEN if the object was revoked, KEY_CORRUPT */
  #activeInformation(object: KeyObject, uuid: KeyUuid): StoredInformation {
    if (object.attributes.state === STATE.Active) return this.#information(object, uuid);
    const hint = `if its deletion was interrupted, delete it again; else ask who revoked it, and why`;
    throw forbidden(this.#client.place, `key ${uuid}, object ${quoted(object.id)}, was revoked`, hint);
  }

  #information(object: KeyObject, uuid?: KeyUuid): StoredInformation {
    const read = readInformation(object.attributes, uuid);
    switch (read.kind) {
      case "information":
        return read.information;
      case "damaged":
        throw corrupt(this.#client.place, `object ${quoted(object.id)} ${read.reason}`);
    }
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
