import type { KeyRecord } from "../generated/key-record.js";
import type { Secret } from "../secret/secret.js";

/** A recovery keyslot, as its key's record names it. */
export type RecoveryEntry = NonNullable<KeyRecord["recovery"]>[number];

/** What opens a volume without any keystore; stays the caller's. */
export interface RecoveryPassphrase {
  readonly passphrase: Secret;
  /** For whom it is; what people type is made slow to guess. */
  readonly holder:
    | { readonly kind: "passphrase" }
    | { readonly kind: "recipients"; readonly recipients: readonly string[]; readonly file: Buffer };
}

export function recoveryOf({ recovery = [] }: Pick<KeyRecord, "recovery">): readonly RecoveryEntry[] {
  return recovery;
}

/** `record` with these recovery keyslots. */
export function withRecovery(record: KeyRecord, entries: readonly RecoveryEntry[]): KeyRecord {
  const changed: KeyRecord = { ...record, recovery: [...entries] };
  if (entries.length === 0) delete changed.recovery;
  return changed;
}

/** `entries` with this one at its keyslot. */
export function withEntry(entries: readonly RecoveryEntry[], entry: RecoveryEntry): RecoveryEntry[] {
  const isThere = entries.some(({ keyslot }) => keyslot === entry.keyslot);
  if (!isThere) return [...entries, entry];
  return entries.map((one) => (one.keyslot === entry.keyslot ? entry : one));
}

/** Who can open with it, in words. */
export function holderOf({ kind, recipients = [] }: Pick<RecoveryEntry, "kind" | "recipients">): string {
  if (kind === "passphrase") return "a printed passphrase";
  return recipients.length === 0 ? "an escrow file" : recipients.join(", ");
}
