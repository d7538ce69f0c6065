import { FileAuditLog } from "./audit/file-audit-log.js";
import { Container } from "./di.js";
import { SYSTEM_CLOCK } from "./event/clock.js";
import { Keyslots } from "./encryption/keyslots.js";
import { createMappings, createProviders } from "./encryption/index.js";
import { GuestPreparation } from "./event/guest-preparation.js";
import { PostStopHandler } from "./event/post-stop.js";
import { PreMigrateHandler } from "./event/pre-migrate.js";
import { PreStartHandler } from "./event/pre-start.js";
import { ExecaCommandRunner } from "./exec/command-runner.js";
import { leaveBehind } from "./exec/left-behind.js";
import { FileHeaderVault } from "./headers/file-header-vault.js";
import { hostAdapterFor, type KnownHost } from "./host/index.js";
import type { CacheOptions } from "./keystore/cache/file-key-cache.js";
import { keyCacheFor } from "./keystore/cache/index.js";
import { KeyLocks } from "./keystore/key-locks.js";
import { createKeyring } from "./keystore/index.js";
import { WinstonLogger } from "./log/winston-logger.js";
import type { LogLevel } from "./log/logger.js";
import { Arrivals } from "./migration/arrivals.js";
import { GuestLocks } from "./plan/guest-locks.js";
import type { Secret } from "./secret/secret.js";
import type { EffectiveSettings } from "./settings/settings.js";
import { createStorageRegistry } from "./storage/index.js";
import { VolumeLocks } from "./storage/volume-lock.js";
import * as t from "./tokens.js";

export interface Composition {
  readonly settings: EffectiveSettings;
  readonly host: KnownHost;
  /** Least severe log level that a person sees on stderr. */
  readonly humanLevel: LogLevel;
  /** Whether keys that are looked up are copied into the cache, where the settings want one. */
  readonly copies?: CacheOptions["manner"];
  /** What a user has handed over for this one command; stays the caller's. */
  readonly token?: Secret;
}

/** The composition root: the only place that says which class stands behind which port. */
export function compose({ settings, host, humanLevel, copies = "look-up", token }: Composition): Container {
  return new Container()
    .value(t.SETTINGS, settings)
    .value(t.CLOCK, SYSTEM_CLOCK)
    .value(t.COMMAND_RUNNER, new ExecaCommandRunner())
    .factory(t.LOGGER, (c) => {
      const { logFile: file, logLevel: fileLevel } = settings;
      return new WinstonLogger({ file, fileLevel, humanLevel, runner: c.resolve(t.COMMAND_RUNNER) });
    })
    .factory(t.HOST, (c) => {
      return hostAdapterFor(host, settings, {
        runner: c.resolve(t.COMMAND_RUNNER),
        storage: () => c.resolve(t.STORAGE),
        leaveBehind: (left) => c.resolve(t.LEAVE_BEHIND)(left),
      });
    })
    .factory(t.KEYRING, (c) => {
      const runner = c.resolve(t.COMMAND_RUNNER);
      const warn = (message: string) => c.resolve(t.LOGGER).warn(message);
      // what a user may see with his token is not what this host may
      if (token !== undefined) return createKeyring(settings, { runner, token });
      return createKeyring(settings, { runner }, keyCacheFor({ settings, manner: copies, runner, warn }));
    })
    .factory(t.STORAGE, (c) => createStorageRegistry(c.resolve(t.COMMAND_RUNNER), settings.storage))
    .factory(t.PROVIDERS, (c) => createProviders(c.resolve(t.COMMAND_RUNNER), settings.legacy))
    .factory(t.MAPPINGS, (c) => createMappings(c.resolve(t.COMMAND_RUNNER)))
    .factory(t.KEYSLOTS, (c) => new Keyslots(c.resolve(t.COMMAND_RUNNER)))
    .factory(t.AUDIT, (c) => {
      const [runner, clock] = [c.resolve(t.COMMAND_RUNNER), c.resolve(t.CLOCK)];
      return new FileAuditLog({ ...settings.audit, runner, clock, logger: () => c.resolve(t.LOGGER) });
    })
    .factory(t.HEADER_VAULT, (c) => {
      const locks = new VolumeLocks(c.resolve(t.COMMAND_RUNNER));
      return new FileHeaderVault(settings.headers, locks, c.resolve(t.CLOCK));
    })
    .factory(t.GUEST_LOCKS, (c) => new GuestLocks(c.resolve(t.COMMAND_RUNNER)))
    .factory(t.KEY_LOCKS, (c) => new KeyLocks(c.resolve(t.COMMAND_RUNNER)))
    .value(t.ARRIVALS, new Arrivals())
    .value(t.LEAVE_BEHIND, leaveBehind)
    .class(t.PREPARATION, GuestPreparation)
    .class(t.PRE_START, PreStartHandler)
    .class(t.PRE_MIGRATE, PreMigrateHandler)
    .class(t.POST_STOP, PostStopHandler);
}
