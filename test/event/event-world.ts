import { randomUUID } from "node:crypto";
import { closeSync, openSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { expect, vi } from "vitest";
import { Container } from "../../src/di.js";
import { LuksFormatter } from "../../src/encryption/luks-formatter.js";
import { EncryptionProviders } from "../../src/encryption/encryption-providers.js";
import { NativeLuks } from "../../src/encryption/native-luks.js";
import { dispatch } from "../../src/event/dispatch.js";
import { GuestPreparation } from "../../src/event/guest-preparation.js";
import { PostStopHandler } from "../../src/event/post-stop.js";
import { PreMigrateHandler } from "../../src/event/pre-migrate.js";
import { PreStartHandler } from "../../src/event/pre-start.js";
import type { LeftBehind } from "../../src/exec/left-behind.js";
import { guestFromDomainXml } from "../../src/guest-config/domain-guest.js";
import type { Guest, LifecycleEvent } from "../../src/host/host-adapter.js";
import type { KeyCache } from "../../src/keystore/cache/key-cache.js";
import { FileKeystore } from "../../src/keystore/file/file-keystore.js";
import { Keyring } from "../../src/keystore/keyring.js";
import { type KeyUuid, newKeyUuid, parseKeyUuid } from "../../src/keystore/key-uuid.js";
import type { Keystore } from "../../src/keystore/keystore.js";
import { Arrivals } from "../../src/migration/arrivals.js";
import { Settlement } from "../../src/migration/settlement.js";
import { GuestLocks } from "../../src/plan/guest-locks.js";
import { StepPerformer } from "../../src/plan/perform.js";
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
import { FakeHeaderVault } from "../fake/fake-header-vault.js";
import { RecordingAudit } from "../fake/recording-audit.js";
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
  readonly arrivals = new Arrivals(join(this.directory, "arrivals"));
  /** Commands that were left to be done after the hooks. */
  readonly leftBehind: LeftBehind[] = [];
  readonly audit = new RecordingAudit();
  readonly headers = new FakeHeaderVault();
  readonly logger = new RecordingLogger();
  readonly runner = new RecordingCommandRunner();
  readonly keystore = new FileKeystore({
    ...{ name: "local", type: "file" },
    directory: join(this.directory, "keystore"),
  });
  readonly container: Container;
  readonly settlement: Settlement;

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
    const storage = new StorageRegistry([raw], new Set(unformatted));
    const locks = new GuestLocks(this.runner, lockDirectory);
    this.settlement = new Settlement({ host: this.host, arrivals: this.arrivals, storage, locks });
    this.container = new Container()
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
      .value(t.STORAGE, storage)
      .value(t.PROVIDERS, new EncryptionProviders([new NativeLuks(), ...fakes]))
      .value(t.MAPPINGS, this.mappings)
      .value(t.GUEST_LOCKS, locks)
      .value(t.ARRIVALS, this.arrivals)
      .value(t.AUDIT, this.audit)
      .value(t.HEADER_VAULT, this.headers)
      .value(t.LEAVE_BEHIND, (left) => this.leftBehind.push(left))
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

  /** The guest has run here before: its disks are formatted, and nothing else is left of that. */
  async startOnce(guest: Guest, disks: readonly WorldDisk[]): Promise<void> {
    await this.storePending(guest, disks);
    await this.handle({ event: "pre-start", cause: "start", guest });
    await this.handle({ event: "post-stop", cause: "stop", guest });
  }

  /** The same guest, with another configuration. */
  withId(guest: Guest, id: string): Guest {
    return guestFromDomainXml(guest.configuration.replace(guest.id, id));
  }

  /** Data that came from a source, as QEMU writes it here. */
  writeBehindHeader({ path }: WorldDisk): void {
    const file = openSync(path, "r+");
    writeSync(file, Buffer.alloc(4096, 0x5a), 0, 4096, SIZE - 4096);
    closeSync(file);
  }

  damageNote({ id }: Guest): void {
    writeFileSync(join(this.directory, "arrivals", id), '{"guest":', { mode: 0o600 });
  }

  /** Does the event as a process that is killed when it has done the first step of this kind. */
  async handleUntil(event: LifecycleEvent, kind: Step["kind"]): Promise<void> {
    // eslint-disable-next-line @typescript-eslint/unbound-method
    const perform = StepPerformer.prototype.perform;
    const spy = vi.spyOn(StepPerformer.prototype, "perform").mockImplementation(async function (
      this: StepPerformer,
      step: Step,
    ) {
      await perform.call(this, step);
      if (step.kind === kind) throw new Error("killed");
      // who is killed undoes nothing
      return undefined;
    });
    try {
      await expect(this.handle(event)).rejects.toMatchObject({ cause: { message: "killed" } });
    } finally {
      spy.mockRestore();
    }
  }

  /** The kinds of the steps that were done. */
  async handle(event: LifecycleEvent): Promise<Step["kind"][]> {
    return kindsOf(await dispatch(this.container, event, "handle"));
  }

  async plan(event: LifecycleEvent): Promise<Step["kind"][]> {
    return kindsOf(await dispatch(this.container, event, "plan"));
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
