import type { AuditLog } from "../audit/audit-log.js";
import type { Keyslots } from "../encryption/keyslots.js";
import type { Clock } from "../event/clock.js";
import type { Keyring } from "../keystore/keyring.js";
import type { StorageRegistry } from "../storage/index.js";
import type { HeaderVault } from "./header-vault.js";

/** What the keyslots of volumes are changed with. */
export interface KeyslotPorts {
  readonly keyring: Keyring;
  readonly storage: StorageRegistry;
  readonly keyslots: Keyslots;
  readonly vault: HeaderVault;
  readonly audit: AuditLog;
  readonly clock: Clock;
}
