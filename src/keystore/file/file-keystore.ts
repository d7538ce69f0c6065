import { LuksmithError } from "../../error/luksmith-error.js";
import { type CommandRunner, ExecaCommandRunner } from "../../exec/command-runner.js";
import type { MountTables } from "../../fs/missing-mount.js";
import type { FileKeystoreSettings } from "../../generated/keystore-file.js";
import type { KeyRecord } from "../../generated/key-record.js";
import type { StoredKey } from "../../generated/stored-key.js";
import type { Secret } from "../../secret/secret.js";
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
import { contended, keepingKey, requireExpected, updatedTo } from "../record-change.js";
import { isReplacedBy, requireNewer } from "../replacement.js";
import { testRoundTrip } from "../round-trip.js";
import { reading, writing } from "./failures.js";
import { MasterKey } from "./master-key.js";
import { RecordDirectory } from "./record-directory.js";
import { masterKeyIdOf, open, parse, seal } from "./stored-key.js";

/** Attempts of a change that others get ahead of. */
const ATTEMPTS = 100;

/** Settings with the schema's default of `directory` filled in; without a protector the master key is in clear. */
export type FileKeystorePlace = FileKeystoreSettings & Required<Pick<FileKeystoreSettings, "directory">>;

/**
 * The embedded keystore, a directory (0700, root):
 *
 * - `master-key.json`: 256 bits, made by the first `store`, kept by a protector (protector.ts, protectors/);
 * - `records/<uuid>.json`: one key each, its passphrase encrypted under the master key (stored-key.ts).
 *
 * Files are written whole or not at all (fs/atomic-file.ts), so that processes need no lock: of two `store`s of one
 * UUID one gets KEY_EXISTS, of two changes the later one is made of what the earlier has left: a file is replaced only
 * if it is still the one that was read, which is compared at the last instant before. `find` and `list` read records without opening
 * them, so that nothing vouches for these but the directory's permissions; what `fetch` returns is authenticated.
 */
export class FileKeystore implements Keystore, KeyDeleter, KeyLister, KeyTester {
  readonly type = "file";
  readonly name: string;
  readonly #records: RecordDirectory;
  readonly #masterKey: MasterKey;

  constructor(
    { name, directory, protector = { type: "file" } }: FileKeystorePlace,
    runner: CommandRunner = new ExecaCommandRunner(),
    mounts?: MountTables,
  ) {
    this.name = name;
    this.#records = new RecordDirectory(directory, mounts);
    this.#masterKey = new MasterKey(directory, { settings: protector, runner });
  }

  async store(key: Key): Promise<void> {
    const outcome = await writing(`cannot store key ${key.record.uuid}`, async () => {
      this.#records.prepare();
      return this.#records.create(...this.#sealed(key, await this.#masterKeyForWriting()));
    });
    if (outcome === "created") return;
    throw keyExists(this.name, key.record.uuid);
  }

  async fetch(uuid: KeyUuid): Promise<Key | undefined> {
    return reading(`cannot read key ${uuid}`, async () => {
      const stored = this.#read(uuid);
      if (stored === undefined) return undefined;
      const masterKey = await this.#masterKey.read();
      if (masterKey === undefined) throw this.#masterKey.missing();
      if (stored.masterKey !== masterKeyIdOf(masterKey)) throw this.#masterKey.isAnother();
      const passphrase = open(stored, masterKey);
      if (passphrase !== undefined) return { record: stored.record, passphrase };
      throw this.#corrupt(uuid, "was changed");
    });
  }

  change(uuid: KeyUuid, change: RecordChange): Promise<KeyRecord> {
    return this.#changeRecord(uuid, keepingKey(this.name, change));
  }

  async update(record: KeyRecord): Promise<void> {
    await this.#changeRecord(record.uuid, updatedTo(this.name, record));
  }

  async replace(key: Key, expected?: KeyRecord): Promise<void> {
    await this.#change(key.record.uuid, (current) => {
      if (isReplacedBy(current, key)) return key;
      requireExpected(this.name, current.record, expected);
      requireNewer(this.name, current, key);
      return key;
    });
  }

  #changeRecord(uuid: string, change: RecordChange): Promise<KeyRecord> {
    return this.#change(uuid, ({ record, passphrase }) => ({ record: change(record), passphrase }));
  }

  async #change(uuid: string, change: (current: Key) => Key): Promise<KeyRecord> {
    for (let count = 1; count <= ATTEMPTS; count++) {
      const stored = await this.#tryChange(uuid, change);
      if (stored !== undefined) return stored;
    }
    throw contended(this.name, uuid);
  }

  /** @returns what is stored now, or undefined if somebody else was faster */
  async #tryChange(uuidText: string, change: (current: Key) => Key): Promise<KeyRecord | undefined> {
    const task = `cannot update key ${uuidText}`;
    const uuid = parseKeyUuid(uuidText);
    // before the key is read, so that a change after that is seen
    const stamp = await reading(task, () => uuid && this.#records.stamp(uuid));
    const current = uuid && (await this.fetch(uuid));
    if (current === undefined) throw keyNotFound(this.name, uuidText);
    using passphrase = current.passphrase;
    return await writing(task, async () => {
      this.#records.prepare();
      const changed = change({ record: current.record, passphrase });
      const sealed = this.#sealed(changed, await this.#masterKeyForWriting());
      return this.#records.replaceIf(stamp, ...sealed) === "replaced" ? changed.record : undefined;
    });
  }

  async find(query: KeyQuery): Promise<KeyRecord[]> {
    return (await this.list()).filter((record) => matchesQuery(record, query));
  }

  /** @throws KEY_CORRUPT if a single record is damaged: an answer without it would say that there is no such key */
  async list(): Promise<KeyRecord[]> {
    // a record that vanishes meanwhile was deleted by somebody else
    return reading("cannot list the keys", () =>
      this.#records.uuids().flatMap((uuid) => this.#read(uuid)?.record ?? []),
    );
  }

  async delete(uuid: KeyUuid): Promise<void> {
    await writing(`cannot delete key ${uuid}`, () => this.#records.remove(uuid));
  }

  async test(passed?: (check: KeystoreCheck) => void): Promise<void> {
    const uuids = await reading("cannot list the keys", () => this.#records.uuids());
    passed?.("reached");
    for (const uuid of uuids) (await this.fetch(uuid))?.passphrase.dispose();
    await testRoundTrip(this);
    passed?.("round trip");
    await reading("cannot read the master key", () => this.#masterKey.checkProtector());
  }

  #read(uuid: KeyUuid): StoredKey | undefined {
    const bytes = this.#records.read(uuid);
    if (bytes === undefined) return undefined;
    const parsed = parse(bytes, uuid);
    switch (parsed.kind) {
      case "key":
        return parsed.stored;
      case "damaged":
        throw this.#corrupt(uuid, parsed.reason);
    }
  }

  /** The file's name and bytes. What `fetch` would refuse to read is never written. */
  #sealed(key: Key, masterKey: Secret): [KeyUuid, Buffer] {
    const uuid = parseKeyUuid(key.record.uuid);
    if (uuid === undefined) throw this.#unstorable(key, "its UUID is malformed");
    const bytes = seal(key, masterKey);
    const parsed = parse(bytes, uuid);
    switch (parsed.kind) {
      case "key":
        return [uuid, bytes];
      case "damaged":
        throw this.#unstorable(key, `its file ${parsed.reason}`);
    }
  }

  async #masterKeyForWriting(): Promise<Secret> {
    const masterKey = await this.#masterKey.read();
    if (masterKey !== undefined) {
      if (this.#someRecordIsUnderAnother(masterKey)) throw this.#masterKey.isAnother();
      return masterKey;
    }
    // a new master key beside old records would hide that theirs is lost
    if (this.#records.uuids().length === 0) await this.#masterKey.make();
    const made = await this.#masterKey.read();
    if (made === undefined) throw this.#masterKey.missing();
    return made;
  }

  /**
   * One record tells, since they all are under one master key: the first that is not damaged.
   * @throws KEY_CORRUPT if there are records and none can tell
   */
  #someRecordIsUnderAnother(masterKey: Secret): boolean {
    let damage: LuksmithError | undefined;
    for (const uuid of this.#records.uuids()) {
      try {
        const stored = this.#read(uuid);
        if (stored !== undefined) return stored.masterKey !== masterKeyIdOf(masterKey);
      } catch (thrown) {
        if (!(thrown instanceof LuksmithError) || thrown.code !== "KEY_CORRUPT") throw thrown;
        damage ??= thrown;
      }
    }
    if (damage !== undefined) throw damage;
    return false;
  }

  #corrupt(uuid: KeyUuid, why: string): LuksmithError {
    return new LuksmithError("KEY_CORRUPT", {
      what: `key ${uuid} of keystore ${this.name} is damaged`,
      why: `the file ${this.#records.pathOf(uuid)} ${why}`,
      hint: "bring the file back from a backup",
    });
  }

  #unstorable({ record }: Key, why: string): LuksmithError {
    return new LuksmithError("KEYSTORE_WRITE_FAILED", { what: `cannot store key ${record.uuid}`, why });
  }
}
