import type { Container } from "../di.js";
import { asLuksmithError, type LuksmithError } from "../error/luksmith-error.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { lastDrillOf } from "../recovery/drill-record.js";
import { EscrowFiles } from "../recovery/escrow-files.js";
import { recordFor } from "../shred/shred-records.js";
import { HEADER_VAULT, SETTINGS } from "../tokens.js";

/** What this host knows of a key, whatever the keystores say. */
export type RememberedKey =
  /** A record that this host has signed says so. */
  | { readonly kind: "shredded" }
  /** It was Luksmith's: what tells so, in words. */
  | { readonly kind: "ours"; readonly by: readonly string[] }
  | { readonly kind: "unreadable"; readonly error: LuksmithError };

/**
 * A key that no keystore has is not therefore somebody else's: where a keystore was lost or emptied, header copies,
 * escrow files and drills are left of it. Undefined where this host has never heard of it.
 */
export function rememberedKey(container: Container, uuid: KeyUuid): RememberedKey | undefined {
  try {
    if (recordFor(uuid) !== undefined) return { kind: "shredded" };
    const escrow = new EscrowFiles(container.resolve(SETTINGS).recovery.directory);
    const left = {
      "a copy of its LUKS header": container.resolve(HEADER_VAULT).backups(uuid).length > 0,
      "an escrow file": escrow.keyslots(uuid).length > 0,
      "the result of a drill": lastDrillOf(uuid) !== undefined,
    };
    const by = Object.entries(left).flatMap(([word, isThere]) => (isThere ? [word] : []));
    return by.length === 0 ? undefined : { kind: "ours", by };
  } catch (thrown) {
    return { kind: "unreadable", error: asLuksmithError(thrown) };
  }
}
