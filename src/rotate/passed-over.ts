import type { KeyRecord } from "../generated/key-record.js";
import type { KeyFact } from "../plan/facts.js";
import type { DiskResult, RotationWish } from "./rotate-guest.js";

/**
 * What a key's record says already, before anybody has looked whether it could be rotated at all: that its passphrase is
 * not old enough, or, of a guest that nobody has named, that it has none to be replaced.
 */
export function passedOver(
  key: KeyFact,
  { isDue, scope }: Pick<RotationWish, "isDue" | "scope">,
): DiskResult["result"] | undefined {
  if (key.kind === "unavailable") return undefined;
  if (key.kind === "unknown")
    return scope === "all" ? { kind: "skipped", why: "its key is in no keystore" } : undefined;
  const { record } = key;
  const why = scope === "all" ? withoutPassphrase(record) : undefined;
  if (why !== undefined) return { kind: "skipped", why };
  // what was cut short ends, however old the passphrase is
  return record.rotation === undefined && isDue?.(record) === false ? { kind: "recent", record } : undefined;
}

function withoutPassphrase({ state, encryption }: KeyRecord): string | undefined {
  if (state === "pending") return "it is not formatted yet";
  return encryption.format === "plain" ? "plain dm-crypt has no keyslots" : undefined;
}
