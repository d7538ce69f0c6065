import { randomUUID } from "node:crypto";
import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Container } from "../../src/di.js";
import { LuksFormatter } from "../../src/encryption/luks-formatter.js";
import { EncryptionProviders } from "../../src/encryption/encryption-providers.js";
import { NativeLuks } from "../../src/encryption/native-luks.js";
import { dispatch } from "../../src/event/dispatch.js";
import { GuestPreparation } from "../../src/event/guest-preparation.js";
import { PostStopHandler } from "../../src/event/post-stop.js";
import { PreMigrateHandler } from "../../src/event/pre-migrate.js";
import { PreStartHandler } from "../../src/event/pre-start.js";
import { guestFromDomainXml } from "../../src/guest-config/domain-guest.js";
import type { Guest, LifecycleEvent } from "../../src/host/host-adapter.js";
import type { KeyCache } from "../../src/keystore/cache/key-cache.js";
import { FileKeystore } from "../../src/keystore/file/file-keystore.js";
import { Keyring } from "../../src/keystore/keyring.js";
import { type KeyUuid, newKeyUuid, parseKeyUuid } from "../../src/keystore/key-uuid.js";
import type { Keystore } from "../../src/keystore/keystore.js";
import { GuestLocks } from "../../src/plan/guest-locks.js";
import type { Step } from "../../src/plan/step.js";
import { Secret } from "../../src/secret/secret.js";
import { parseSettings } from "../../src/settings/load.js";
import { RawBackend } from "../../src/storage/raw/raw.js";
import { StorageRegistry } from "../../src/storage/storage-registry.js";
import { VolumeLocks } from "../../src/storage/volume-lock.js";
import * as t from "../../src/tokens.js";
import { guestXml } from "../e2e/support/guests.js";
import { FakeDmCrypt } from "../fake/fake-dm-crypt.js";
import { FakeHostAdapter } from "../fake/fake-host-adapter.js";
import { FakeMappings } from "../fake/fake-mappings.js";
import { RecordingCommandRunner } from "../fake/recording-command-runner.js";
import { RecordingLogger } from "../fake/recording-logger.js";
import { temporaryDirectory } from "../fs/tree.js";
import { sampleRecord } from "../keystore/sample-key.js";

const NOW = new Date("2026-01-02T03:04:05Z");
const SIZE = 8 * 1024 * 1024;

export interface WorldDisk {
  readonly dev: string;
  readonly path: string;
  readonly uuid: KeyUuid;
  /** The key of an encrypted volume under it. */
  readonly base?: KeyUuid;
}

export interface WorldOptions {
  readonly dmCrypt?: "fake" | "absent";
}

/** Real handlers, planners, a real keystore and real volumes in a temporary directory; only the host is a fake. */
export class EventWorld {
  readonly directory = temporaryDirectory();
  readonly host = new FakeHostAdapter();
  readonly mappings = new FakeMappings();
  readonly logger = new RecordingLogger();
  readonly runner = new RecordingCommandRunner();
  readonly keystore = new FileKeystore({
    ...{ name: "local", type: "file" },
    directory: join(this.directory, "keystore"),
  });
  readonly #container: Container;

  /**
   * @param keystore what the events see, where it is not the real one itself
   * @param unformatted types of storage that the settings let nobody format
   * @param cache of the keystore's keys
   */
  constructor(
    keystore?: (real: FileKeystore) => Keystore,
    unformatted: readonly string[] = [],
    cache?: KeyCache,
    { dmCrypt = "fake" }: WorldOptions = {},
  ) {
    const fakes = dmCrypt === "fake" ? [new FakeDmCrypt()] : [];
    const lockDirectory = join(this.directory, "lock");
    const raw = new RawBackend(
      this.runner,
      new LuksFormatter(this.runner),
      new VolumeLocks(this.runner, lockDirectory),
    );
    this.#container = new Container()
      .value(t.SETTINGS, parseSettings('{"version":1}', "the test"))
      .value(t.CLOCK, { now: () => NOW })
      .value(t.LOGGER, this.logger)
      .value(t.HOST, this.host)
      .value(
        t.KEYRING,
        new Keyring(
          [{ name: "local", make: () => Promise.resolve(keystore?.(this.keystore) ?? this.keystore) }],
          cache && (() => Promise.resolve(cache)),
        ),
      )
      .value(t.STORAGE, new StorageRegistry([raw], new Set(unformatted)))
      .value(t.PROVIDERS, new EncryptionProviders([new NativeLuks(), ...fakes]))
      .value(t.MAPPINGS, this.mappings)
      .value(t.GUEST_LOCKS, new GuestLocks(this.runner, lockDirectory))
      .class(t.PREPARATION, GuestPreparation)
      .class(t.PRE_START, PreStartHandler)
      .class(t.PRE_MIGRATE, PreMigrateHandler)
      .class(t.POST_STOP, PostStopHandler);
  }

  /** New, empty volumes, and the keys that their encryption blocks will name. */
  disks(...devs: string[]): WorldDisk[] {
    return devs.map((dev) => {
      const path = join(this.directory, `${dev}.raw`);
      writeFileSync(path, "");
      truncateSync(path, SIZE);
      return { dev, path, uuid: newKeyUuid() };
    });
  }

  /** The guest as its hook gets it; `metadata`: XML. */
  guest(disks: readonly WorldDisk[], metadata = "", annotation: "annotated" | "bare" = "annotated"): Guest {
    const described = disks.map(({ dev, path, uuid, base }) => ({
      dev,
      path,
      format: "raw" as const,
      ...(annotation === "annotated" && { secretUuid: uuid }),
      ...(base && { base: { path: `${path}.base`, format: "raw" as const, secretUuid: base } }),
    }));
    return guestFromDomainXml(guestXml({ name: "web1", uuid: randomUUID(), disks: described, metadata }));
  }

  /** A key for each disk, as `protect` makes them. */
  async storePending(guest: Guest, disks: readonly WorldDisk[]): Promise<void> {
    for (const { uuid, dev, path } of disks) {
      const { id, name } = guest;
      const record = sampleRecord({ uuid, disk: dev, volume: path, guest: { id, name } });
      using passphrase = Secret.randomPassphrase();
      await this.keystore.store({ record, passphrase });
    }
  }

  /** The kinds of the steps that were done. */
  async handle(event: LifecycleEvent): Promise<Step["kind"][]> {
    return kindsOf(await dispatch(this.#container, event, "handle"));
  }

  async plan(event: LifecycleEvent): Promise<Step["kind"][]> {
    return kindsOf(await dispatch(this.#container, event, "plan"));
  }

  async states(): Promise<string[]> {
    return (await this.keystore.list()).map(({ state }) => state).sort();
  }

  /** The stored passphrase. */
  async passphrase(uuid: string): Promise<string> {
    const key = await this.keystore.fetch(parseKeyUuid(uuid)!);
    if (key === undefined) throw new Error(`no key ${uuid}`);
    using passphrase = key.passphrase;
    return passphrase.use((bytes) => bytes.toString());
  }
}

function kindsOf({ stages }: { readonly stages: readonly (readonly Step[])[] }): Step["kind"][] {
  return stages.flat().map(({ kind }) => kind);
}
