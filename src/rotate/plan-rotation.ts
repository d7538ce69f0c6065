import type { KeyRecord } from "../generated/key-record.js";

/** What the volume's header and the keystore say about a key. */
export interface RotationFacts {
  readonly record: Pick<KeyRecord, "rotation" | "recovery">;
  /** Numbers of the header's keyslots that are in use. */
  readonly used: readonly number[];
  /** The keyslot that opens with the key's passphrase. */
  readonly current: number | undefined;
  /** Keyslots that open with a former passphrase. */
  readonly former: readonly number[];
  /** Whether the keystore still has the passphrase that the noted rotation has replaced. */
  readonly knowsFormer: boolean;
}

/** What is to be done next with a key's volume. */
export type RotationStep =
  /** Nothing was begun: a new passphrase can be made. */
  | { readonly kind: "begin"; readonly current: number }
  /** The new passphrase was not stored, and is lost: its keyslot goes. */
  | { readonly kind: "undo"; readonly remove: number | undefined }
  /** The keystore has the new passphrase, which opens the volume: the former one's keyslot goes. */
  | { readonly kind: "finish"; readonly current: number; readonly remove: number | undefined }
  /** The header is an old copy: it opens with a former passphrase alone. */
  | { readonly kind: "adopt"; readonly former: number }
  /** Neither the passphrase nor a former one opens the volume. */
  | { readonly kind: "rejected" };

/**
 * The same for a first call and for one that finds what a killed one has left. No keyslot that the record says is for
 * recovery is ever removed, unless a former passphrase was proven to open it. Pure.
 */
export function planRotation({ record, used, current, former, knowsFormer }: RotationFacts): RotationStep {
  if (current === undefined)
    return former[0] === undefined ? { kind: "rejected" } : { kind: "adopt", former: former[0] };
  const { rotation, recovery = [] } = record;
  if (rotation === undefined) return { kind: "begin", current };
  // of one that is not in use, key material may be left
  const canGo = (keyslot: number) =>
    keyslot !== current && !recovery.some((other) => other.keyslot === keyslot);
  if (rotation.former === undefined)
    return { kind: "undo", remove: canGo(rotation.keyslot) ? rotation.keyslot : undefined };
  const isProven = former.includes(rotation.former) && rotation.former !== current;
  const isUnknown = !knowsFormer || !used.includes(rotation.former);
  const remove = isProven || (isUnknown && canGo(rotation.former)) ? rotation.former : undefined;
  return { kind: "finish", current, remove };
}
