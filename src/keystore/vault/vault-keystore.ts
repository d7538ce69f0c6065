import type { KeyRecord } from "../../generated/key-record.js";
import type { SettingsOf } from "../index.js";
import { keyNotFound } from "../key-presence.js";
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
import { contended, isSameRecord, keepingKey, requireExpected, updatedTo } from "../record-change.js";
import { Budget } from "../remote/budget.js";
import { isReplacedBy, requireNewer } from "../replacement.js";
import { testRoundTrip } from "../round-trip.js";
import { damaged, deleted, type KeyPlace, limited, taken, unstorable } from "./key-failures.js";
import { KvEngine, type Secret as KvSecret, type Written } from "./kv-engine.js";
import { isStorable, readStored, writeBody } from "./stored-form.js";
import { checkHealth } from "./vault-health.js";
import { VaultClient } from "./vault-client.js";
import { VaultSession } from "./vault-session.js";

/** Attempts of a change that others get ahead of. */
const ATTEMPTS = 8;
/** Milliseconds after the first of them. */
const PAUSE = 20;

/** A key, and the version that it is. */
interface Versioned {
  readonly version: number;
  readonly record: KeyRecord;
}

/** How long a version stays. */
interface Stay {
  readonly version: number;
  readonly deletionTime: string | undefined;
}

/**
 * Keys in the KV version 2 engine of HashiCorp Vault or OpenBao, one secret each (stored-form.ts).
 *
 * - `store` writes with check-and-set 0: the server takes it only where the name has no version, so that nothing is
 *   overwritten, also when the answer is lost and the write is sent again.
 * - `change` and `update` make a new version with the same passphrase, if there was none since they have read; `delete` removes all versions and the name for good.
 * - `replace` makes a new version, and destroys those before it once that is stored.
 * - What somebody has deleted with `vault kv delete` can be brought back: `fetch` says so, as KEY_DELETED, and does not
 *   say that there is no key. `find` and `list` leave it out, since it was deleted on purpose.
 * - Nothing is stored that the engine would delete by itself. A key to which that happens later, because somebody has
 *   changed the engine, can be fetched as long as it is there; `test` reports it.
 *
 * Requests and answers hold passphrases as bytes, which are wiped, but for the copies that Node's HTTP and TLS make.
 */
export class VaultKeystore implements Keystore, KeyDeleter, KeyLister, KeyTester {
  readonly type = "vault";
  readonly name: string;
  readonly #client: VaultClient;
  readonly #session: VaultSession;
  readonly #engine: KvEngine;
  readonly #milliseconds: number;

  /** @throws SETTINGS_INVALID, KEYSTORE_TLS_FAILED, KEYSTORE_CREDENTIAL_MISSING, PERMISSIONS_UNSAFE: files are read. */
  constructor(settings: SettingsOf<"vault">) {
    this.name = settings.name;
    this.#client = new VaultClient(settings);
    this.#session = new VaultSession(this.#client, settings);
    this.#engine = new KvEngine(this.#session, this.#client.place, settings);
    this.#milliseconds = 1000 * settings.timeout;
  }

  async store(key: Key): Promise<void> {
    const uuid = this.#uuidOf(key.record);
    const budget = this.#budget();
    switch (await this.#write(uuid, key, 0, budget)) {
      case "written":
        return;
      case "unclear":
        if (await this.#has(uuid, key, budget)) return;
        throw taken(this.#place(uuid));
      case "conflict":
        throw taken(this.#place(uuid));
    }
  }

  async fetch(uuid: KeyUuid): Promise<Key | undefined> {
    return this.#key(uuid, await this.#engine.read(uuid, this.#budget()));
  }

  async change(uuid: KeyUuid, change: RecordChange): Promise<KeyRecord> {
    return (await this.#changeRecord(uuid, keepingKey(this.name, change))).record;
  }

  async update(record: KeyRecord): Promise<void> {
    await this.#changeRecord(this.#uuidOf(record), updatedTo(this.name, record));
  }

  async replace(key: Key, expected?: KeyRecord): Promise<void> {
    const uuid = this.#uuidOf(key.record);
    const budget = this.#budget();
    // whoever may not destroy hears of it while the key is what it was
    await this.#engine.destroy(uuid, [], budget);
    const { version } = await this.#change(uuid, budget, (current) => {
      if (isReplacedBy(current, key)) return key;
      requireExpected(this.name, current.record, expected);
      requireNewer(this.name, current, key);
      return key;
    });
    await this.#destroyBefore(uuid, version, budget);
  }

  #changeRecord(uuid: KeyUuid, change: RecordChange): Promise<Versioned> {
    return this.#change(uuid, this.#budget(), ({ record, passphrase }) => ({
      record: change(record),
      passphrase,
    }));
  }

  /** @returns the version that has the key as `change` wants it */
  async #change(uuid: KeyUuid, budget: Budget, change: (current: Key) => Key): Promise<Versioned> {
    let unclear: KeyRecord | undefined;
    for (let count = 1; count <= ATTEMPTS; count++) {
      const secret = await this.#engine.read(uuid, budget);
      const key = this.#key(uuid, secret);
      if (key === undefined || secret.kind !== "secret") throw keyNotFound(this.name, uuid);
      using passphrase = key.passphrase;
      // what a write has made whose answer was lost is not changed once more
      const isMine = unclear !== undefined && isSameRecord(key.record, unclear);
      const changed = isMine
        ? { record: key.record, passphrase }
        : change({ record: key.record, passphrase });
      // also when a write before has lost its answer; a version that deletes itself is replaced by one that stays
      if (isReplacedBy(key, changed) && secret.deletionTime === undefined)
        return { version: secret.version, record: key.record };
      const lifetime = await this.#engine.lifetime(uuid, budget);
      if (lifetime !== undefined) throw limited(this.#place(uuid), `after ${lifetime}`);
      // a replacement that was killed has left the former passphrase, which nobody else would destroy
      if (key.record.rotation?.former !== undefined) await this.#destroyBefore(uuid, secret.version, budget);
      const written = await this.#write(uuid, changed, secret.version, budget);
      if (written === "written") return { version: secret.version + 1, record: changed.record };
      if (written === "unclear" && changed.passphrase === passphrase) unclear = changed.record;
      await budget.pause(PAUSE * count);
    }
    throw contended(this.name, uuid);
  }

  async #destroyBefore(uuid: KeyUuid, version: number, budget: Budget): Promise<void> {
    const former = Array.from({ length: version - 1 }, (_, index) => index + 1);
    if (former.length > 0) await this.#engine.destroy(uuid, former, budget);
  }

  async find(query: KeyQuery): Promise<KeyRecord[]> {
    return (await this.list()).filter((record) => matchesQuery(record, query));
  }

  /** @throws KEY_CORRUPT if a single key is damaged: an answer without it would say that there is no such key */
  async list(): Promise<KeyRecord[]> {
    const records = await this.#each((uuid, secret) => this.#recordOf(uuid, secret));
    return records.filter((record) => record !== undefined);
  }

  async delete(uuid: KeyUuid): Promise<void> {
    await this.#engine.remove(uuid, this.#budget());
  }

  async test(passed: (check: KeystoreCheck) => void = () => undefined): Promise<void> {
    const budget = this.#budget();
    await checkHealth(this.#client, budget);
    passed("reached");
    if (this.#client.place.address.startsWith("https:")) passed("TLS");
    await this.#session.authenticate(budget);
    await this.#engine.confirm(budget);
    passed("authenticated");
    await testRoundTrip(this);
    await this.#each((uuid, secret) => this.#expectLasting(uuid, secret));
    passed("round trip");
  }

  async #each<T>(look: (uuid: KeyUuid, secret: KvSecret) => T): Promise<T[]> {
    const budget = this.#budget();
    const names = await this.#engine.names(budget);
    const uuids = names.map(parseKeyUuid).filter((uuid, index) => uuid === names[index]) as KeyUuid[];
    return Promise.all(uuids.map(async (uuid) => look(uuid, await this.#engine.read(uuid, budget))));
  }

  #budget(): Budget {
    return new Budget(this.#milliseconds);
  }

  async #write(uuid: KeyUuid, key: Key, version: number, budget: Budget): Promise<Written["kind"]> {
    if (!isStorable(key, uuid)) throw unstorable(uuid, "its record is malformed, or its passphrase is empty");
    const body = writeBody(key, version);
    try {
      const written = await this.#engine.write(uuid, body, budget);
      if (written.kind === "written") await this.#refuseLimited(uuid, written, budget);
      return written.kind;
    } finally {
      body.fill(0);
    }
  }

  /** Whether exactly this key is stored: the write whose answer was lost has been done. */
  async #has(uuid: KeyUuid, { record, passphrase }: Key, budget: Budget): Promise<boolean> {
    const secret = await this.#engine.read(uuid, budget);
    const key = this.#key(uuid, secret);
    if (key === undefined || secret.kind !== "secret") return false;
    using stored = key.passphrase;
    if (JSON.stringify(key.record) !== JSON.stringify(record) || !stored.equals(passphrase)) return false;
    await this.#refuseLimited(uuid, secret, budget);
    return true;
  }

  /** Sees that a version that we have written stays. One that is the first is taken back. */
  async #refuseLimited(uuid: KeyUuid, { version, deletionTime }: Stay, budget: Budget): Promise<void> {
    if (deletionTime === undefined) return;
    if (version > 1) throw limited(this.#place(uuid), `at ${deletionTime}`, version);
    await this.#engine.remove(uuid, budget);
    throw limited(this.#place(uuid), `at ${deletionTime}`);
  }

  #expectLasting(uuid: KeyUuid, secret: KvSecret): void {
    if (secret.kind !== "secret") return;
    secret.taken?.fill(0);
    const { deletionTime: time, version } = secret;
    if (time !== undefined) throw limited(this.#place(uuid), `at ${time}`, version);
  }

  /** @throws KEY_CORRUPT, KEY_DELETED */
  #key(uuid: KeyUuid, secret: KvSecret): Key | undefined {
    switch (secret.kind) {
      case "absent":
        return undefined;
      case "deleted":
        throw deleted(this.#place(uuid), secret);
      case "secret": {
        const stored = readStored(secret.data, secret.taken, uuid);
        secret.taken?.fill(0);
        if (stored.kind === "key") return stored.key;
        throw damaged(this.#place(uuid), stored.reason);
      }
    }
  }

  #recordOf(uuid: KeyUuid, secret: KvSecret): KeyRecord | undefined {
    if (secret.kind === "deleted") return undefined;
    const key = this.#key(uuid, secret);
    key?.passphrase.dispose();
    return key?.record;
  }

  #place(uuid: KeyUuid): KeyPlace {
    return { uuid, keystore: this.name, argument: this.#engine.argumentFor(uuid) };
  }

  #uuidOf({ uuid: text }: KeyRecord): KeyUuid {
    const uuid = parseKeyUuid(text);
    if (uuid === undefined) throw unstorable(text, "its UUID is malformed");
    return uuid;
  }
}
