import type { Container } from "../di.js";
import { EscrowFiles } from "../recovery/escrow-files.js";
import { type RecoveryPorts } from "../recovery/recovery-keyslots.js";
import { AUDIT, CLOCK, HEADER_VAULT, KEY_LOCKS, KEYRING, KEYSLOTS, SETTINGS, STORAGE } from "../tokens.js";

/** What recovery keyslots are made with. */
export function recoveryPorts(container: Container): RecoveryPorts {
  return {
    keyring: container.resolve(KEYRING),
    storage: container.resolve(STORAGE),
    keyslots: container.resolve(KEYSLOTS),
    vault: container.resolve(HEADER_VAULT),
    audit: container.resolve(AUDIT),
    clock: container.resolve(CLOCK),
    keyLocks: container.resolve(KEY_LOCKS),
    files: new EscrowFiles(container.resolve(SETTINGS).recovery.directory),
  };
}
