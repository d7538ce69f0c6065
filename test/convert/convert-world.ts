import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ConversionNotes } from "../../src/convert/conversion-notes.js";
import { convertDisk } from "../../src/convert/convert-disk.js";
import type { Watcher } from "../../src/convert/watcher.js";
import { defaultTarget } from "../../src/convert/default-target.js";
import { gatherConvertFacts } from "../../src/convert/gather-convert.js";
import { planConvert } from "../../src/convert/plan-convert.js";
import type { PurgePorts } from "../../src/convert/purge-volume.js";
import { createProviders } from "../../src/encryption/index.js";
import { asLuksmithError } from "../../src/error/luksmith-error.js";
import { type Command, ExecaCommandRunner } from "../../src/exec/command-runner.js";
import { FileKeystore } from "../../src/keystore/file/file-keystore.js";
import { Keyring } from "../../src/keystore/keyring.js";
import type { KeyDeleter, Keystore } from "../../src/keystore/keystore.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { Arrivals } from "../../src/migration/arrivals.js";
import { GuestLocks } from "../../src/plan/guest-locks.js";
import { KeySession } from "../../src/plan/key-session.js";
import type { Resources } from "../../src/plan/perform.js";
import { createStorageRegistry } from "../../src/storage/index.js";
import type { PathVolume } from "../../src/storage/volume.js";
import { VolumeLocks } from "../../src/storage/volume-lock.js";
import { FakeHeaderVault } from "../fake/fake-header-vault.js";
import { FakeMappings } from "../fake/fake-mappings.js";
import { FakeXmlHost } from "../fake/fake-xml-host.js";
import { RecordingAudit } from "../fake/recording-audit.js";
import { RecordingLogger } from "../fake/recording-logger.js";
import { request } from "../plan/builders.js";
import { DEFAULT_STORAGE } from "../storage/default-storage.js";

/** Real tools; what a test wants to happen in between. */
class WatchedRunner extends ExecaCommandRunner {
  before: (command: Command) => void = () => undefined;
  after: (command: Command) => void = () => undefined;

  override async run(command: Command) {
    this.before(command);
    const result = await super.run(command);
    this.after(command);
    return result;
  }
}

/** A guest with one disk, real image files, a real keystore and locks, in a directory of its own. */
export class ConvertWorld implements Disposable {
  readonly dir = mkdtempSync("/var/tmp/luksmith-test-");
  readonly runner = new WatchedRunner();
  readonly keystore = new FileKeystore({ name: "local", type: "file", directory: this.at("keystore") });
  readonly notes = new ConversionNotes(this.at("conversions"));
  readonly guestLocks = new GuestLocks(this.runner, this.at("locks"));
  readonly audit = new RecordingAudit();
  readonly said: string[] = [];
  readonly host: FakeXmlHost;
  readonly volume: PathVolume;
  /** What keys are kept in, for one that fails. */
  kept: Keystore & KeyDeleter = this.keystore;
  /** Hears how far it is. */
  percent: (percent: number) => void = () => undefined;
  /** Hears what was done. */
  hear: (what: string) => void = () => undefined;

  constructor(readonly format: "raw" | "qcow2") {
    mkdirSync(this.at("vm"));
    this.volume = { kind: "file", path: this.at(`vm/web1.${format}`), format };
    this.host = new FakeXmlHost(this.volume);
  }

  at(name: string): string {
    return join(this.dir, name);
  }

  [Symbol.dispose](): void {
    rmSync(this.dir, { recursive: true });
  }

  async disk() {
    const found = (await this.host.readGuest()).disks.mapping["vda"];
    if (found === undefined) throw new Error("the guest has lost its disk");
    return found;
  }

  async path(): Promise<string> {
    const { volume } = await this.disk();
    return volume.kind === "file" ? volume.path : "";
  }

  /** As `convertByCopy`, with this world's ports. */
  async convert(to: "encrypted" | "plain", named?: string, rate?: bigint): Promise<void> {
    const { runner, notes, guestLocks } = this;
    const guest = await this.host.readGuest();
    const disk = await this.disk();
    const found = named === undefined ? defaultTarget(disk, to) : { ...this.volume, path: named };
    using session = new KeySession();
    const asked = to === "plain" ? undefined : request("vda");
    const target = { volume: found, isNamed: named !== undefined };
    const question = { guest, disk, request: asked, target, choice: "native" as const };
    const resources = this.resources();
    const facts = await gatherConvertFacts(question, { ...resources, runner, notes }, session);
    const clock = { now: () => new Date() };
    const plan = planConvert(facts, { now: clock.now(), newUuid: newKeyUuid });
    const locks = new VolumeLocks(runner, this.at("locks"));
    const ports = { resources, session, runner, locks, guestLocks, notes, clock, rate };
    await convertDisk(plan, { ...ports, watcher: this.watcher });
  }

  /** The code of what it fails with. */
  async failure(work: Promise<unknown>): Promise<string> {
    return await work.then(
      () => "none",
      (thrown: unknown) => {
        const { code, message, why } = asLuksmithError(thrown);
        return code === "INTERNAL" ? `${code}: ${message} ${why ?? ""} ${String(thrown)}` : code;
      },
    );
  }

  purgePorts(): PurgePorts {
    const { runner, host, notes, watcher, audit } = this;
    const { storage } = this.resources();
    return { audit, host, storage, runner, notes, watcher, locks: new VolumeLocks(runner, this.at("locks")) };
  }

  /** SHA-256 of what the guest would see now, decrypted by QEMU with the key that its configuration names. */
  async guestSees(): Promise<string> {
    const { volume, encryption_secret_uuid: uuid } = await this.disk();
    if (volume.kind !== "file") throw new Error("no file");
    const plain = this.at("decrypted");
    const args = ["convert", "-O", "raw"];
    const file = { driver: "file", filename: volume.path };
    if (uuid === undefined) {
      execFileSync("qemu-img", [...args, `json:${JSON.stringify({ driver: volume.format, file })}`, plain]);
    } else {
      const key = await this.keystore.fetch(uuid);
      if (key === undefined) throw new Error("the key is gone");
      using passphrase = key.passphrase;
      const secret = passphrase.use((bytes) => bytes.toString());
      const node =
        volume.format === "qcow2"
          ? { driver: "qcow2", encrypt: { format: "luks", "key-secret": "k" }, file }
          : { driver: "luks", "key-secret": "k", file };
      const object = ["--object", `secret,id=k,data=${secret}`];
      execFileSync("qemu-img", [...args, ...object, `json:${JSON.stringify(node)}`, plain]);
    }
    const digest = digestOf(plain);
    rmSync(plain);
    return digest;
  }

  get watcher(): Watcher {
    return {
      done: (what) => {
        this.said.push(what);
        this.hear(what);
      },
      begin: () => ({ percent: (now) => this.percent(now), [Symbol.dispose]: () => undefined }),
    };
  }

  resources(): Resources {
    const legacy = { enabled: false, cipher: "aes-xts-plain64", keySize: 512, hash: "ripemd160" } as const;
    return {
      host: this.host,
      keyring: new Keyring([{ name: "local", make: () => Promise.resolve(this.kept) }]),
      storage: createStorageRegistry(
        this.runner,
        DEFAULT_STORAGE,
        new VolumeLocks(this.runner, this.at("locks")),
      ),
      providers: createProviders(this.runner, legacy),
      mappings: new FakeMappings(),
      arrivals: new Arrivals(this.at("arrivals")),
      audit: this.audit,
      headers: new FakeHeaderVault(),
      logger: new RecordingLogger(),
    };
  }
}

export function digestOf(path: string): string {
  return createHash("sha256").update(readFileSync(path)).digest("hex");
}
