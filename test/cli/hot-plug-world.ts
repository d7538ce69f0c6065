import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { vi } from "vitest";
import { attachDisk } from "../../src/cli/attach.js";
import { detachDisk, type DetachOptions } from "../../src/cli/detach.js";
import { newDisk, type NewDiskOptions } from "../../src/cli/new-disk.js";
import { Container } from "../../src/di.js";
import { LuksFormatter } from "../../src/encryption/luks-formatter.js";
import { EncryptionProviders } from "../../src/encryption/encryption-providers.js";
import { NativeLuks } from "../../src/encryption/native-luks.js";
import { asLuksmithError } from "../../src/error/luksmith-error.js";
import type { KeyCache } from "../../src/keystore/cache/key-cache.js";
import { FileKeystore } from "../../src/keystore/file/file-keystore.js";
import { Keyring } from "../../src/keystore/keyring.js";
import type { Keystore } from "../../src/keystore/keystore.js";
import { Arrivals } from "../../src/migration/arrivals.js";
import type { Plan } from "../../src/plan/step.js";
import { parseSettings } from "../../src/settings/load.js";
import { RawBackend } from "../../src/storage/raw/raw.js";
import { StorageRegistry } from "../../src/storage/storage-registry.js";
import { VolumeLocks } from "../../src/storage/volume-lock.js";
import * as t from "../../src/tokens.js";
import { FakeDmCrypt } from "../fake/fake-dm-crypt.js";
import { FakeHotPlugHost } from "../fake/fake-hot-plug-host.js";
import { FakeMappings } from "../fake/fake-mappings.js";
import { RecordingCommandRunner } from "../fake/recording-command-runner.js";
import { FakeHeaderVault } from "../fake/fake-header-vault.js";
import { RecordingAudit } from "../fake/recording-audit.js";
import { RecordingLogger } from "../fake/recording-logger.js";
import { temporaryDirectory } from "../fs/tree.js";
import { guestWith } from "../plan/builders.js";

export interface AttachOptions extends NewDiskOptions {
  readonly dryRun?: true;
}

/** Real commands, planners, a real keystore and real volumes; the host and the kernel's mappings are fakes. */
export class HotPlugWorld {
  readonly directory = temporaryDirectory();
  readonly guest = guestWith();
  readonly host = new FakeHotPlugHost(this.guest);
  readonly mappings = new FakeMappings();
  readonly audit = new RecordingAudit();
  readonly headers = new FakeHeaderVault();
  readonly logger = new RecordingLogger();
  readonly keystore = new FileKeystore({
    ...{ name: "local", type: "file" },
    directory: join(this.directory, "keystore"),
  });
  /** What the commands see of the keystore. */
  seen: (real: FileKeystore) => Keystore = (real) => real;
  /** What this host has copies of. */
  cache: KeyCache | undefined;

  /** @param settings besides their version */
  constructor(private readonly settings: object = {}) {}

  /** Every command is a process of its own. */
  #container(): Container {
    const runner = new RecordingCommandRunner();
    const locks = new VolumeLocks(runner, join(this.directory, "lock"));
    const raw = new RawBackend(runner, new LuksFormatter(runner), locks);
    const make = () => Promise.resolve(this.seen(this.keystore));
    const { cache } = this;
    return new Container()
      .value(t.SETTINGS, parseSettings(JSON.stringify({ version: 1, ...this.settings }), "the test"))
      .value(t.CLOCK, { now: () => new Date("2026-01-02T03:04:05Z") })
      .value(t.LOGGER, this.logger)
      .value(t.HOST, this.host)
      .value(t.KEYRING, new Keyring([{ name: "local", make }], cache && (() => Promise.resolve(cache))))
      .value(t.STORAGE, new StorageRegistry([raw]))
      .value(t.PROVIDERS, new EncryptionProviders([new NativeLuks(), new FakeDmCrypt()]))
      .value(t.MAPPINGS, this.mappings)
      .value(t.AUDIT, this.audit)
      .value(t.HEADER_VAULT, this.headers)
      .value(t.ARRIVALS, new Arrivals(join(this.directory, "arrivals")));
  }

  /** The path of a new, empty volume. */
  volume(name = "data.img"): string {
    const path = join(this.directory, name);
    writeFileSync(path, "");
    truncateSync(path, 8 * 1024 * 1024);
    return path;
  }

  /** What `luksmith attach web1 DEV VOLUME` prints. */
  attach(dev: string, volume?: string, options: AttachOptions = {}): Promise<string> {
    const wanted = newDisk(dev, volume, options);
    return printed(() => attachDisk(this.#container(), { nameOrId: "web1", dev, wanted, options }));
  }

  detach(dev: string, options: DetachOptions = {}): Promise<string> {
    return printed(() => detachDisk(this.#container(), "web1", dev, options));
  }

  async states(): Promise<string[]> {
    return (await this.keystore.list()).map(({ state }) => state);
  }

  /** All that the host has for disks of the guest. */
  async provided(): Promise<string[]> {
    const secrets = (await this.host.providedSecrets()).map(({ disk }) => `secret ${disk}`);
    return [...secrets, ...[...this.mappings.opened.values()].map(({ disk }) => `mapping ${disk}`)];
  }
}

async function printed(work: () => Promise<Plan>): Promise<string> {
  const lines: string[] = [];
  const write = vi.spyOn(process.stdout, "write").mockImplementation((text) => lines.push(String(text)) > 0);
  try {
    await work();
  } finally {
    write.mockRestore();
  }
  return lines.join("");
}

export function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "done",
    (thrown: unknown) => asLuksmithError(thrown).code,
  );
}
