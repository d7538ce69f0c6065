import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { convertWith } from "../../../src/convert/in-place/convert-in-place.js";
import { Journal } from "../../../src/convert/in-place/journal.js";
import type { InPlacePorts } from "../../../src/convert/in-place/work.js";
import { asLuksmithError } from "../../../src/error/luksmith-error.js";
import { FileHeaderVault } from "../../../src/headers/file-header-vault.js";
import { FileKeystore } from "../../../src/keystore/file/file-keystore.js";
import { KeyLocks } from "../../../src/keystore/key-locks.js";
import { Keyring } from "../../../src/keystore/keyring.js";
import type { KeyDeleter, Keystore } from "../../../src/keystore/keystore.js";
import { createStorageRegistry } from "../../../src/storage/index.js";
import { VolumeLocks } from "../../../src/storage/volume-lock.js";
import { FakeXmlHost } from "../../fake/fake-xml-host.js";
import { RecordingAudit } from "../../fake/recording-audit.js";
import { RecordingCommandRunner } from "../../fake/recording-command-runner.js";
import { request } from "../../plan/builders.js";
import { DEFAULT_STORAGE } from "../../storage/default-storage.js";

/** A guest with one raw image file, which holds `plain`; a real keystore, header vault, journal and locks. */
export class InPlaceWorld implements Disposable {
  readonly dir = mkdtempSync("/var/tmp/luksmith-test-");
  readonly runner = new RecordingCommandRunner();
  readonly keystore = new FileKeystore({ name: "local", type: "file", directory: this.at("keystore") });
  readonly audit = new RecordingAudit();
  readonly said: string[] = [];
  readonly path = this.at("web1.raw");
  readonly host: FakeXmlHost;
  readonly plain: Buffer;
  /** What keys are kept in, for one that fails. */
  kept: Keystore & KeyDeleter = this.keystore;
  percents: number[] = [];

  constructor(size: number) {
    this.plain = randomBytes(size);
    writeFileSync(this.path, this.plain);
    this.host = new FakeXmlHost({ kind: "file", path: this.path, format: "raw" });
  }

  at(name: string): string {
    return join(this.dir, name);
  }

  [Symbol.dispose](): void {
    rmSync(this.dir, { recursive: true });
  }

  async convert(
    to: "encrypted" | "plain",
    options: { rate?: bigint; manner?: "dry-run" } = {},
  ): Promise<void> {
    const guest = await this.host.readGuest();
    const disk = guest.disks.mapping["vda"];
    if (disk === undefined) throw new Error("the guest has lost its disk");
    await convertWith(this.ports(), {
      ...{ guest, disk, target: undefined, manner: "apply", ...options },
      goal: to === "plain" ? { to } : { to, request: request("vda"), engine: "auto" },
      watcher: {
        done: (what) => this.said.push(what),
        begin: () => ({ percent: (value) => this.percents.push(value), [Symbol.dispose]: () => undefined }),
      },
    });
  }

  /** The code of what it fails with. */
  async failure(to: "encrypted" | "plain"): Promise<string> {
    return await this.convert(to).then(
      () => "none",
      (thrown: unknown) => {
        const { code, message, why } = asLuksmithError(thrown);
        return code === "INTERNAL" ? `${code}: ${message} ${why ?? ""}` : code;
      },
    );
  }

  /** What this host knows besides the keystore and the guest's configuration. */
  forgetHost(): void {
    for (const name of ["in-place", "headers"]) rmSync(this.at(name), { recursive: true, force: true });
  }

  journals(): string[] {
    try {
      return readdirSync(this.at("in-place"));
    } catch {
      return [];
    }
  }

  bytes(): Buffer {
    return readFileSync(this.path);
  }

  /** What QEMU shows of the disk, decrypted by it with the key that the guest's configuration names. */
  async guestSees(): Promise<Buffer> {
    const uuid = (await this.host.readGuest()).disks.mapping["vda"]?.encryption_secret_uuid;
    const image = this.at("seen");
    const file = { driver: "file", filename: this.path };
    if (uuid === undefined) {
      execFileSync("qemu-img", [
        "convert",
        "-O",
        "raw",
        `json:${JSON.stringify({ driver: "raw", file })}`,
        image,
      ]);
    } else {
      const key = await this.keystore.fetch(uuid);
      if (key === undefined) throw new Error("the key is gone");
      using passphrase = key.passphrase;
      const object = passphrase.use((bytes) => `secret,id=k,data=${bytes.toString()}`);
      const node = `json:${JSON.stringify({ driver: "luks", "key-secret": "k", file })}`;
      execFileSync("qemu-img", ["convert", "-O", "raw", "--object", object, node, image]);
    }
    const bytes = readFileSync(image);
    rmSync(image);
    return bytes;
  }

  private ports(): InPlacePorts {
    const { runner, host, audit } = this;
    const locks = new VolumeLocks(runner, this.at("locks"));
    const clock = { now: () => new Date() };
    return {
      ...{ host, audit, clock, runner, locks },
      keyring: new Keyring([{ name: "local", make: () => Promise.resolve(this.kept) }]),
      storage: createStorageRegistry(runner, DEFAULT_STORAGE, locks),
      vault: new FileHeaderVault({ directory: this.at("headers"), keep: 3 }, locks, clock),
      keyLocks: new KeyLocks(runner, this.at("locks"), 1),
      journal: new Journal(this.at("in-place")),
    };
  }
}
