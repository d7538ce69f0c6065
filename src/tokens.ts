import { token } from "./di.js";
import type { Clock } from "./event/clock.js";
import type { Mappings } from "./encryption/encryption-provider.js";
import type { EncryptionProviders } from "./encryption/encryption-providers.js";
import type { EventHandler } from "./event/event-handler.js";
import type { GuestPreparation } from "./event/guest-preparation.js";
import type { CommandRunner } from "./exec/command-runner.js";
import type { HostAdapter } from "./host/host-adapter.js";
import type { Keyring } from "./keystore/keyring.js";
import type { Logger } from "./log/logger.js";
import type { GuestLocks } from "./plan/guest-locks.js";
import type { EffectiveSettings } from "./settings/settings.js";
import type { StorageRegistry } from "./storage/index.js";

/** One token for each thing that is resolved; container.ts registers them all. */
export const COMMAND_RUNNER = token<CommandRunner>("CommandRunner");
export const LOGGER = token<Logger>("Logger");
export const CLOCK = token<Clock>("Clock");
export const SETTINGS = token<EffectiveSettings>("Settings");
export const HOST = token<HostAdapter>("HostAdapter");
export const KEYRING = token<Keyring>("Keyring");
export const STORAGE = token<StorageRegistry>("StorageRegistry");
export const PROVIDERS = token<EncryptionProviders>("EncryptionProviders");
export const MAPPINGS = token<Mappings>("Mappings");
export const GUEST_LOCKS = token<GuestLocks>("GuestLocks");
export const PREPARATION = token<GuestPreparation>("GuestPreparation");
export const PRE_START = token<EventHandler<"pre-start">>("PreStartHandler");
export const PRE_MIGRATE = token<EventHandler<"pre-migrate">>("PreMigrateHandler");
export const POST_STOP = token<EventHandler<"post-stop">>("PostStopHandler");
