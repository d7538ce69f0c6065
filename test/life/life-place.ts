import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ConversionNotes } from "../../src/convert/conversion-notes.js";
import { Journal } from "../../src/convert/in-place/journal.js";
import { createProviders } from "../../src/encryption/index.js";
import { Keyslots } from "../../src/encryption/keyslots.js";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import type { KeyRecord } from "../../src/generated/key-record.js";
import { FileHeaderVault } from "../../src/headers/file-header-vault.js";
import { FileKeystore } from "../../src/keystore/file/file-keystore.js";
import { KeyLocks } from "../../src/keystore/key-locks.js";
import type { KeyUuid } from "../../src/keystore/key-uuid.js";
import { Keyring } from "../../src/keystore/keyring.js";
import type { Key } from "../../src/keystore/keystore.js";
import { Arrivals } from "../../src/migration/arrivals.js";
import { GuestLocks } from "../../src/plan/guest-locks.js";
import { EscrowFiles } from "../../src/recovery/escrow-files.js";
import type { Secret } from "../../src/secret/secret.js";
import { createStorageRegistry, type StorageRegistry } from "../../src/storage/index.js";
import type { QemuNode } from "../../src/storage/storage-backend.js";
import type { PathVolume } from "../../src/storage/volume.js";
import { VolumeLocks } from "../../src/storage/volume-lock.js";
import { FakeMappings } from "../fake/fake-mappings.js";
import { RecordingAudit } from "../fake/recording-audit.js";
import { RecordingLogger } from "../fake/recording-logger.js";
import { DEFAULT_STORAGE } from "../storage/default-storage.js";
import { type ImageFormat, MIB, run, withKey } from "../storage/workshop.js";
import { FakeXmlHost, GUEST_ID } from "../fake/fake-xml-host.js";
import type { Life } from "./life.js";

export const SIZE = 2 * MIB;

/** Where a guest with one disk lives: image files, keystore, header vault, escrow files; the host manager is a fake. */
export class LifePlace implements Disposable {
  readonly dir = mkdtempSync("/var/tmp/luksmith-test-");
  readonly runner = new ExecaCommandRunner();
  readonly keystore = new FileKeystore({ name: "local", type: "file", directory: this.at("keystore") });
  readonly vault: FileHeaderVault;
  readonly files = new EscrowFiles(this.at("escrow"));
  readonly keyslots = new Keyslots(this.runner);
  readonly notes = new ConversionNotes(this.at("conversions"));
  readonly host: FakeXmlHost;
  /** SHA-256 of what the guest has on its disk when it begins. */
  readonly firstContent: string;
  #volumes = 0;
  #now = Date.parse("2026-08-01T12:00:00Z");

  constructor(readonly format: ImageFormat) {
    mkdirSync(this.at("vm"));
    const volume = this.newVolume();
    const [bytes, image] = [randomBytes(SIZE), this.at("content")];
    writeFileSync(image, bytes);
    run("qemu-img", ["convert", "-O", format, image, volume.path]);
    rmSync(image);
    this.firstContent = digest(bytes);
    this.host = new FakeXmlHost(volume);
    this.vault = new FileHeaderVault({ directory: this.at("headers"), keep: 3 }, this.locks(), this);
  }

  at(name: string): string {
    return join(this.dir, name);
  }

  newVolume(): PathVolume {
    return { kind: "file", path: this.at(`vm/${++this.#volumes}.${this.format}`), format: this.format };
  }

  /** A minute later with every look. */
  now(): Date {
    return new Date((this.#now += 60_000));
  }

  [Symbol.dispose](): void {
    rmSync(this.dir, { recursive: true, force: true });
  }

  async disk() {
    const disk = (await this.host.readGuest()).disks.mapping["vda"];
    if (disk?.volume.kind !== "file") throw new Error("the guest has lost its disk");
    const volume: PathVolume = { ...disk.volume, format: this.format };
    return { ...disk, volume };
  }

  async guestAndDisk() {
    return { guest: await this.host.readGuest(), disk: await this.disk() };
  }

  async encryptedDisk() {
    const { encryption_secret_uuid: uuid, volume } = await this.disk();
    if (uuid === undefined) throw new Error("the disk has no key");
    return { uuid, volume };
  }

  /** Empty where the volume has none. */
  async header(): Promise<Buffer> {
    const { volume } = await this.disk();
    const header = await this.backend().readHeader(volume).catch(ifNoHeader);
    return header ?? Buffer.alloc(0);
  }

  async record(uuid: KeyUuid): Promise<KeyRecord | undefined> {
    const key = await this.keystore.fetch(uuid);
    key?.passphrase.dispose();
    return key?.record;
  }

  /** How QEMU opens the disk, with the key of its configuration or another one. */
  async opened(uuid?: KeyUuid): Promise<{ node: QemuNode; passphrase: Secret | undefined }> {
    const { volume, encryption_secret_uuid: named } = await this.disk();
    const file = { driver: "file", filename: volume.path };
    const key: Key | undefined = named && (await this.keystore.fetch(uuid ?? named));
    if (key === undefined) return { node: { driver: this.format, file }, passphrase: undefined };
    const encrypt = { format: "luks", "key-secret": "key" };
    const raw = { driver: "luks", "key-secret": "key", file };
    const node = this.format === "raw" ? raw : { driver: "qcow2", encrypt, file };
    return { node, passphrase: key.passphrase };
  }

  /** SHA-256 of what QEMU shows to the guest of the disk as it was when it began. */
  async seen(uuid?: KeyUuid): Promise<string> {
    const { node, passphrase } = await this.opened(uuid);
    using secret = passphrase;
    const image = this.at("seen");
    withKey(secret, (key) =>
      execFileSync("qemu-img", ["convert", "-O", "raw", ...key, `json:${JSON.stringify(node)}`, image]),
    );
    const bytes = readFileSync(image);
    rmSync(image);
    return digest(bytes.subarray(0, SIZE));
  }

  /** What one process has, which ends as `life` says. */
  ports(life: Life) {
    return {
      host: life.host(this.host),
      keyring: this.keyring(life),
      storage: life.storage(this.registry(life)),
      audit: new RecordingAudit(),
      keyslots: this.keyslots,
      vault: life.vault(this.vault),
      clock: this,
      runner: life.runner(this.runner),
      locks: this.locks(),
      keyLocks: new KeyLocks(this.runner, this.at("locks")),
      guestLocks: new GuestLocks(this.runner, this.at("locks")),
      journal: this.journal(),
    };
  }

  resources(life: Life) {
    const { host, keyring, storage, audit, vault, runner } = this.ports(life);
    const legacy = { enabled: false, cipher: "aes-xts-plain64", keySize: 512, hash: "ripemd160" } as const;
    return {
      ...{ host, keyring, storage, audit, headers: vault },
      providers: createProviders(runner, legacy),
      mappings: new FakeMappings(),
      arrivals: new Arrivals(this.at("arrivals")),
      logger: new RecordingLogger(),
    };
  }

  keyring(life: Life): Keyring {
    const keystore = life.keystore(this.keystore);
    return new Keyring([{ name: "local", make: () => Promise.resolve(keystore) }]);
  }

  registry(life?: Life): StorageRegistry {
    const runner = life?.runner(this.runner) ?? this.runner;
    return createStorageRegistry(runner, DEFAULT_STORAGE, this.locks());
  }

  backend() {
    const found = this.registry()
      .all()
      .find(({ type }) => type === this.format);
    if (found === undefined) throw new Error(`there is no storage backend ${this.format}`);
    return found;
  }

  locks(): VolumeLocks {
    return new VolumeLocks(this.runner, this.at("locks"));
  }

  journal(): Journal {
    return new Journal(this.at("in-place"));
  }
}

export const GUEST = { id: GUEST_ID, name: "web1" };

function digest(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}

export function ifNoHeader(thrown: unknown): undefined {
  const codes = ["VOLUME_NOT_FORMATTED", "LUKS_HEADER_INVALID"];
  if (!(thrown instanceof LuksmithError) || !codes.includes(thrown.code)) throw thrown;
}
