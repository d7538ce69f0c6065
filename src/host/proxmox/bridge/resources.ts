import type { AuditLog } from "../../../audit/audit-log.js";
import type { Clock } from "../../../event/clock.js";
import type { CommandRunner } from "../../../exec/command-runner.js";
import type { BridgeAnswer } from "../../../generated/bridge-answer.js";
import type { HeaderVault } from "../../../headers/header-vault.js";
import type { Keyring } from "../../../keystore/keyring.js";
import type { EffectiveSettings } from "../../../settings/settings.js";
import type { StorageRegistry } from "../../../storage/storage-registry.js";
import type { VolumeLocks } from "../../../storage/volume-lock.js";
import type { ProxmoxPlaces } from "../places.js";

/** What the operations of the bridge work with. */
export interface BridgeResources {
  readonly settings: EffectiveSettings;
  readonly runner: CommandRunner;
  readonly locks: VolumeLocks;
  readonly keyring: Keyring;
  readonly storage: StorageRegistry;
  readonly places: ProxmoxPlaces;
  readonly clock: Clock;
  readonly audit: AuditLog;
  readonly headers: Pick<HeaderVault, "keep">;
  /** Hears what the administrator should read though the operation works. */
  readonly warn: (message: string) => void;
}

export type BridgeResult = NonNullable<BridgeAnswer["result"]>;
