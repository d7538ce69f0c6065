import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Keyslots } from "../../src/encryption/keyslots.js";
import type { KeyRecord } from "../../src/generated/key-record.js";
import { FileHeaderVault } from "../../src/headers/file-header-vault.js";
import { FileKeystore } from "../../src/keystore/file/file-keystore.js";
import { KeyLocks } from "../../src/keystore/key-locks.js";
import { newKeyUuid, type KeyUuid } from "../../src/keystore/key-uuid.js";
import { Keyring } from "../../src/keystore/keyring.js";
import type { Key, KeyDeleter, Keystore } from "../../src/keystore/keystore.js";
import { EscrowFiles } from "../../src/recovery/escrow-files.js";
import type { RecoverableDisk } from "../../src/recovery/recoverable-disk.js";
import type { RecoveryPorts } from "../../src/recovery/recovery-keyslots.js";
import { Secret } from "../../src/secret/secret.js";
import { StorageRegistry } from "../../src/storage/index.js";
import { VolumeLocks } from "../../src/storage/volume-lock.js";
import { volumeName } from "../../src/storage/volume.js";
import { RecordingAudit } from "../fake/recording-audit.js";
import { sampleRecord } from "../keystore/sample-key.js";
import { type FileVolume, type ImageFormat, MIB, run, SPEC, Workshop } from "../storage/workshop.js";

/** A host with encrypted volumes, one keystore, a header vault and escrow files. */
export class RecoveryLab implements Disposable {
  readonly workshop: Workshop;
  readonly keystore: Keystore & KeyDeleter;
  readonly keyslots: Keyslots;
  readonly vault: FileHeaderVault;
  readonly audit = new RecordingAudit();
  readonly files: EscrowFiles;
  readonly escrowDirectory: string;
  now = new Date("2026-08-02T10:00:00.000Z");

  constructor(readonly format: ImageFormat = "raw") {
    this.workshop = new Workshop(format);
    const { root, runner, lockDirectory } = this.workshop;
    this.keystore = new FileKeystore({ name: "local", type: "file", directory: join(root, "keys") });
    this.keyslots = new Keyslots(runner);
    const clock = { now: () => this.now };
    const locks = new VolumeLocks(runner, lockDirectory);
    this.vault = new FileHeaderVault({ directory: join(root, "headers"), keep: 3 }, locks, clock);
    this.escrowDirectory = join(root, "escrow");
    this.files = new EscrowFiles(this.escrowDirectory);
  }

  get ports(): RecoveryPorts {
    return {
      keyring: keyringOf(this.keystore),
      storage: new StorageRegistry([this.workshop.backend]),
      ...{ keyslots: this.keyslots, vault: this.vault, audit: this.audit, files: this.files },
      clock: { now: () => this.now },
      keyLocks: new KeyLocks(this.workshop.runner, join(this.workshop.root, "key-locks")),
    };
  }

  /** A formatted volume with an active key. */
  async disk(
    name = "disk",
    change: Partial<KeyRecord> = {},
  ): Promise<RecoverableDisk & { readonly volume: FileVolume }> {
    const volume = this.workshop.makeEmpty(name, 8 * MIB);
    const uuid = newKeyUuid();
    using passphrase = Secret.randomPassphrase();
    await this.workshop.backend.createEncrypted({ volume, uuid, spec: SPEC, passphrase });
    const record = sampleRecord({ uuid, state: "active", volume: volumeName(volume), ...change });
    await this.keystore.store({ record, passphrase });
    return { guest: record.guest, disk: record.disk, volume, uuid };
  }

  async key(uuid: KeyUuid): Promise<Key> {
    const key = await this.keystore.fetch(uuid);
    if (key === undefined) throw new Error(`no key ${uuid}`);
    return key;
  }

  async record(uuid: KeyUuid): Promise<KeyRecord> {
    const { record, passphrase } = await this.key(uuid);
    passphrase.dispose();
    return record;
  }

  header({ volume }: RecoverableDisk): Promise<Buffer> {
    return this.workshop.backend.readHeader(volume);
  }

  /** Keyslot that the passphrase opens, by cryptsetup. */
  async opens(disk: RecoverableDisk, passphrase: Secret): Promise<number | undefined> {
    return await this.keyslots.find(await this.header(disk), passphrase);
  }

  async machineOpens(disk: RecoverableDisk): Promise<number | undefined> {
    const { passphrase } = await this.key(disk.uuid);
    using own = passphrase;
    return await this.opens(disk, own);
  }

  async used(disk: RecoverableDisk): Promise<readonly number[]> {
    return this.keyslots.used(await this.header(disk));
  }

  /** An age identity, as age-keygen makes it. */
  identity(name = "identity"): { readonly path: string; readonly recipient: string } {
    const path = join(this.workshop.root, name);
    run("age-keygen", ["-o", path]);
    return { path, recipient: /public key: (age1\S+)/.exec(readFileSync(path, "utf8"))![1]! };
  }

  [Symbol.dispose](): void {
    this.workshop[Symbol.dispose]();
  }
}

export function keyringOf(keystore: Keystore): Keyring {
  return new Keyring([{ name: keystore.name, make: () => Promise.resolve(keystore) }]);
}
