import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Container } from "../../src/di.js";
import { Keyslots } from "../../src/encryption/keyslots.js";
import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import { FileHeaderVault } from "../../src/headers/file-header-vault.js";
import type { ConfiguredGuest } from "../../src/host/host-adapter.js";
import { FileKeystore } from "../../src/keystore/file/file-keystore.js";
import { type KeyUuid, newKeyUuid } from "../../src/keystore/key-uuid.js";
import { KeyLocks } from "../../src/keystore/key-locks.js";
import { Keyring } from "../../src/keystore/keyring.js";
import { GuestLocks } from "../../src/plan/guest-locks.js";
import { Secret } from "../../src/secret/secret.js";
import { parseSettings } from "../../src/settings/load.js";
import { type Asking, Shredder } from "../../src/shred/shred-all.js";
import { StorageRegistry } from "../../src/storage/storage-registry.js";
import { VolumeLocks } from "../../src/storage/volume-lock.js";
import * as t from "../../src/tokens.js";
import { FakeGuestsHost } from "../fake/fake-guests-host.js";
import { FakeMappings } from "../fake/fake-mappings.js";
import { RecordingAudit } from "../fake/recording-audit.js";
import { RecordingLogger } from "../fake/recording-logger.js";
import { archivedRecord, sampleRecord } from "../keystore/sample-key.js";
import { disk, guestWith } from "../plan/builders.js";
import { type FileVolume, makeBackend, makeImage, SPEC } from "../storage/workshop.js";

export const NOBODY: Asking = {
  ...{ uid: undefined, snapshots: "unknown", otherHosts: "unknown", sharedVolumeKey: "refused" },
};
export const NOW = new Date("2026-01-02T03:04:05Z");

/** Texts of all passphrases that were ever good for the volume. */
export const PASSPHRASES = ["current passphrase", "former passphrase", "recovery passphrase"] as const;

/** Seconds to wait for a lock. */
const PATIENCE = 1;

/** A guest with one encrypted disk: real volumes, headers, keystore and vault in a directory; the host is a fake. */
export class ShredWorld {
  readonly runner = new ExecaCommandRunner();
  readonly host = new FakeGuestsHost();
  readonly audit = new RecordingAudit();
  readonly mappings = new FakeMappings();
  readonly cleared: KeyUuid[] = [];
  readonly keystore: FileKeystore;
  readonly vault: FileHeaderVault;
  readonly backend;
  readonly volume: FileVolume;
  now = NOW;
  persons = 1;

  constructor(
    readonly directory: string,
    format: "raw" | "qcow2",
    readonly key: KeyUuid = newKeyUuid(),
  ) {
    this.volume = { kind: "file", path: join(directory, "disk.img"), format };
    this.keystore = new FileKeystore({ name: "local", type: "file", directory: join(directory, "keystore") });
    const clock = { now: () => this.now };
    const headers = { directory: join(directory, "headers"), keep: 3 };
    this.vault = new FileHeaderVault(headers, new VolumeLocks(this.runner, this.locks), clock);
    this.backend = makeBackend(format, this.runner, this.locks);
    this.host.guests = [this.guest()];
  }

  get locks(): string {
    return join(this.directory, "lock");
  }

  get state(): string {
    return join(this.directory, "shred");
  }

  get escrow(): string {
    return join(this.directory, "escrow");
  }

  /** Where conversions in place note how far they are. */
  get inPlace(): string {
    return join(this.directory, "in-place");
  }

  guest(change: Partial<ConfiguredGuest> = {}): ConfiguredGuest {
    const mapping = {
      ...disk("vda"),
      volume: this.volume,
      encryption_secret_uuid: this.key,
      encrypted: true,
    };
    return { ...guestWith(mapping), running: false, saved: false, ...change };
  }

  /** The volume with three keyslots, and all that can be kept of its keys beside it. */
  async fill(): Promise<void> {
    makeImage(this.volume, 8 * 1024 * 1024);
    const [current, former, recovery] = PASSPHRASES.map((text) => Secret.own(Buffer.from(text)));
    if (!current || !former || !recovery) throw new Error("three passphrases");
    const { volume, key: uuid } = this;
    await this.backend.createEncrypted({ volume, uuid, spec: SPEC, passphrase: current });
    await this.keepHeader();
    for (const added of [former, recovery]) await this.addKeyslot(current, added);
    await this.keepHeader();
    const record = sampleRecord({ uuid, state: "active", volume: volume.path });
    await this.keystore.store({ record, passphrase: current });
    await this.keystore.store({ record: archivedRecord(record, 1), passphrase: former });
    mkdirSync(this.escrow, { mode: 0o700 });
    writeFileSync(join(this.escrow, `${uuid}.2.age`), "age", { mode: 0o600 });
    writeFileSync(join(this.escrow, `${uuid}.3.unfinished`), "{}", { mode: 0o600 });
    writeFileSync(join(this.escrow, `${newKeyUuid()}.2.age`), "another's", { mode: 0o600 });
    await this.host.provideSecrets(guestWith(), [{ uuid, disk: "vda", passphrase: current }]);
  }

  async addKeyslot(passphrase: Secret, added: Secret): Promise<void> {
    const { length } = await this.backend.readHeader(this.volume);
    await this.backend.changeHeader(this.volume, length, async (header) => {
      const wanted = { passphrase, added, strength: "machine" } as const;
      return (await new Keyslots(this.runner).add(header, wanted)).pieces;
    });
  }

  async keepHeader(): Promise<void> {
    const header = await this.backend.readHeader(this.volume);
    await this.vault.keep({ uuid: this.key, volume: this.volume.path, header, reason: "changed" });
  }

  /** As one process has it. */
  shredder(): Shredder {
    const settings = {
      ...{ version: 1, shred: { persons: this.persons } },
      recovery: { directory: this.escrow },
    };
    const container = new Container()
      .value(t.SETTINGS, parseSettings(JSON.stringify(settings), "the test"))
      .value(t.CLOCK, { now: () => this.now })
      .value(t.LOGGER, new RecordingLogger())
      .value(t.COMMAND_RUNNER, this.runner)
      .value(t.HOST, this.host)
      .value(t.KEYRING, new Keyring([{ name: "local", make: () => Promise.resolve(this.keystore) }]))
      .value(t.STORAGE, new StorageRegistry([this.backend]))
      .value(t.MAPPINGS, this.mappings)
      .value(t.HEADER_VAULT, this.vault)
      .value(t.AUDIT, this.audit)
      .value(t.GUEST_LOCKS, new GuestLocks(this.runner, this.locks))
      .value(t.KEY_LOCKS, new KeyLocks(this.runner, this.locks, PATIENCE));
    return new Shredder(container, {
      directory: this.state,
      conversions: join(this.directory, "conversions"),
      inPlace: this.inPlace,
      signingKey: join(this.directory, "signing-key"),
      clearCopies: (uuids) => this.cleared.push(...uuids),
    });
  }

  shred(asking: Asking = NOBODY): Promise<string[]> {
    return this.shredder().shred({ kind: "guest", guest: "web1", disks: [] }, asking);
  }

  /** What is left that could open the volume. */
  async left(): Promise<string[]> {
    const keys = (await this.keystore.list()).map(({ state }) => `key ${state}`);
    const escrow = readdirSync(this.escrow).filter((name) => name.startsWith(this.key));
    const copies = this.vault.backups(this.key).map(() => "header copy");
    const secrets = (await this.host.providedSecrets()).map(() => "host secret");
    return [...keys, ...escrow, ...copies, ...secrets, ...(await this.opening())];
  }

  /** The passphrases that open the volume. */
  async opening(): Promise<string[]> {
    const opening: string[] = [];
    for (const text of PASSPHRASES) {
      using passphrase = Secret.own(Buffer.from(text));
      const answer = await this.backend.testPassphrase(this.volume, passphrase).then(
        () => "opens",
        () => "does not open",
      );
      if (answer === "opens") opening.push(text);
    }
    return opening;
  }

  bytes(): Buffer {
    return readFileSync(this.volume.path);
  }
}
