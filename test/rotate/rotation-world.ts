import { join } from "node:path";
import { Keyslots } from "../../src/encryption/keyslots.js";
import type { LuksPiece } from "../../src/encryption/luks-image.js";
import type { LuksSpec } from "../../src/encryption/luks-spec.js";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { KeyRecord } from "../../src/generated/key-record.js";
import { FileHeaderVault } from "../../src/headers/file-header-vault.js";
import type { HeaderToKeep, HeaderVault } from "../../src/headers/header-vault.js";
import { FileKeystore } from "../../src/keystore/file/file-keystore.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import type { Key, KeyQuery, Keystore } from "../../src/keystore/keystore.js";
import { formerPassphrases } from "../../src/rotate/archive.js";
import { KeyRotation, type Rotated } from "../../src/rotate/key-rotation.js";
import { Secret } from "../../src/secret/secret.js";
import type { StorageBackend } from "../../src/storage/storage-backend.js";
import { VolumeLocks } from "../../src/storage/volume-lock.js";
import { RecordingAudit } from "../fake/recording-audit.js";
import { RecordingLogger } from "../fake/recording-logger.js";
import { sampleRecord } from "../keystore/sample-key.js";
import { type ImageFormat, SPEC, Workshop } from "../storage/workshop.js";

/** One encrypted volume with its key, in a real keystore and a real header vault, and what can be done to them. */
export class RotationWorld implements Disposable {
  readonly workshop: Workshop;
  readonly uuid = newKeyUuid();
  readonly keystore: FileKeystore;
  readonly vault: FileHeaderVault;
  readonly keyslots: Keyslots;
  readonly audit = new RecordingAudit();
  readonly logger = new RecordingLogger();
  readonly volume;
  #now = Date.parse("2026-08-01T12:00:00Z");

  constructor(format: ImageFormat) {
    this.workshop = new Workshop(format);
    const { root, runner, lockDirectory } = this.workshop;
    this.keystore = new FileKeystore({ name: "local", type: "file", directory: join(root, "keystore") });
    const locks = new VolumeLocks(runner, lockDirectory);
    this.vault = new FileHeaderVault({ directory: join(root, "headers"), keep: 3 }, locks, this);
    this.keyslots = new Keyslots(runner);
    this.volume = this.workshop.makeEmpty("disk.img", 8 * 1024 * 1024);
  }

  /** A minute later with every look. */
  now(): Date {
    return new Date((this.#now += 60_000));
  }

  async format(spec: LuksSpec = SPEC): Promise<this> {
    using passphrase = Secret.randomPassphrase();
    const { uuid, volume } = this;
    await this.workshop.backend.createEncrypted({ volume, uuid, spec, passphrase });
    const record = sampleRecord({ uuid, state: "active", volume: volume.path, encryption: spec });
    await this.keystore.store({ record, passphrase });
    return this;
  }

  async rotate(life = new Life(), settled: () => Promise<void> = () => Promise.resolve()): Promise<Rotated> {
    const backend = life.backend(this.workshop.backend);
    const keystore = life.keystore(this.keystore);
    const vault = life.vault(this.vault);
    const { uuid, volume, keyslots, audit, logger } = this;
    const target = { guest: { id: "1", name: "web1" }, disk: "vda", volume, backend, uuid, keystore };
    const ports = { keyslots, vault, audit, clock: this, logger, patience: life.patience };
    return await new KeyRotation(target, ports, settled).rotate();
  }

  async key(): Promise<Key> {
    const key = await this.keystore.fetch(this.uuid);
    if (key === undefined) throw new Error("the key has gone");
    return key;
  }

  async record(): Promise<KeyRecord> {
    const { record, passphrase } = await this.key();
    passphrase.dispose();
    return record;
  }

  header(): Promise<Buffer> {
    return this.workshop.backend.readHeader(this.volume);
  }

  async used(): Promise<readonly number[]> {
    return this.keyslots.used(await this.header());
  }

  /** Whether the passphrase that the keystore has opens the volume: what holds always. */
  async opens(): Promise<boolean> {
    const { passphrase } = await this.key();
    using secret = passphrase;
    return await this.opensWith(secret);
  }

  async opensWith(passphrase: Secret): Promise<boolean> {
    try {
      await this.workshop.backend.testPassphrase(this.volume, passphrase);
      return true;
    } catch (thrown) {
      if (thrown instanceof LuksmithError && thrown.code === "PASSPHRASE_REJECTED") return false;
      throw thrown;
    }
  }

  /** How many of the former passphrases open the volume. */
  async formersThatOpen(): Promise<number> {
    let count = 0;
    for (const former of await formerPassphrases(this.keystore, this.uuid)) {
      using secret = former;
      if (await this.opensWith(secret)) count++;
    }
    return count;
  }

  /** As `luksmith escrow add` does it. */
  async addRecovery(): Promise<Secret> {
    const recovery = Secret.randomPassphrase();
    const { record, passphrase } = await this.key();
    using secret = passphrase;
    const taken = new Set([...(await this.used()), record.rotation?.keyslot, record.rotation?.former]);
    const free = [7, 6, 5, 4, 3, 2].find((keyslot) => !taken.has(keyslot));
    if (free === undefined) return recovery;
    await this.change(async (header) => {
      const request = { passphrase: secret, added: recovery, strength: "machine", keyslot: free } as const;
      return (await this.keyslots.add(header, request)).pieces;
    });
    const createdAt = this.now().toISOString();
    const entry = { keyslot: free, kind: "passphrase", createdAt } as const;
    await this.keystore.update({ ...record, recovery: [...(record.recovery ?? []), entry] });
    return recovery;
  }

  async change(change: (header: Buffer) => Promise<readonly LuksPiece[]>): Promise<void> {
    await this.workshop.backend.changeHeader(this.volume, (await this.header()).length, change);
  }

  /** Brings back an old header, as from a backup of the volume. */
  async restore(header: Buffer): Promise<void> {
    await this.change(() => Promise.resolve([{ offset: 0, bytes: header }]));
  }

  [Symbol.dispose](): void {
    this.workshop[Symbol.dispose]();
  }
}

/** What a process that was killed gets from anything it still tries, in the test alone. */
export class Killed extends Error {}

/** A process that is killed at the n-th instant between two changes of the world; everything is counted without it. */
export class Life {
  instants = 0;
  /** Milliseconds that a keystore's late answer is waited for. */
  patience = 0;

  constructor(private readonly end = Infinity) {}

  keystore(real: Keystore): Keystore {
    return {
      name: real.name,
      type: real.type,
      store: (key) => this.#change(() => real.store(key)),
      update: (record) => this.#change(() => real.update(record)),
      change: (uuid, change) => this.#change(() => real.change(uuid, change)),
      replace: (key, expected) => this.#change(() => real.replace(key, expected)),
      fetch: (uuid) => this.#ask(() => real.fetch(uuid)),
      find: (query: KeyQuery) => this.#ask(() => real.find(query)),
    };
  }

  vault(real: HeaderVault): Pick<HeaderVault, "keep"> {
    return { keep: (header: HeaderToKeep) => this.#change(() => real.keep(header)) };
  }

  backend(real: StorageBackend): Pick<StorageBackend, "readHeader" | "changeHeader"> {
    return {
      readHeader: (volume) => this.#ask(() => real.readHeader(volume)),
      changeHeader: (volume, length, change) =>
        this.#change(() =>
          real.changeHeader(volume, length, async (header) => {
            const pieces = await change(header);
            // each piece is an instant: only those before the end are written
            return pieces.filter(() => ++this.instants < this.end);
          }),
        ),
    };
  }

  async #change<T>(work: () => Promise<T>): Promise<T> {
    this.#instant();
    const answer = await work();
    this.#instant();
    return answer;
  }

  async #ask<T>(work: () => Promise<T>): Promise<T> {
    if (this.instants >= this.end) throw new Killed();
    return await work();
  }

  #instant(): void {
    if (++this.instants >= this.end) throw new Killed();
  }
}
