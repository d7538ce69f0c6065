import type { Guest, HostAdapter } from "../host/host-adapter.js";
import { asLuksmithError } from "../error/luksmith-error.js";
import type { KeyRecord } from "../generated/key-record.js";
import { keyUuidOf } from "../keystore/key-record.js";
import type { Keyring } from "../keystore/keyring.js";
import type { Logger } from "../log/logger.js";
import type { DiskFacts, KeyFact } from "./facts.js";

export type FoundKey = Extract<KeyFact, { kind: "found" }>;

/** The keys that the guest's disks name, from keystores that answer. */
export function foundKeysIn(facts: readonly DiskFacts[]): FoundKey[] {
  const keys = facts.flatMap((fact) => (fact.kind === "annotated" ? [fact.key] : []));
  return keys.filter((key) => key.kind === "found").filter(({ cached }) => cached === undefined);
}

/** Corrects records by what the host manager knows of a key that is used; what cannot be written now is a warning. */
export async function recordUse(
  guest: Pick<Guest, "id" | "name">,
  keys: readonly FoundKey[],
  { host, keyring, logger }: { host: HostAdapter; keyring: Keyring; logger: Logger },
): Promise<void> {
  for (const { record, keystore: name } of keys) {
    const used = (now: KeyRecord) => host.keyInUse?.(now, guest);
    if (used(record) === undefined) continue;
    try {
      const keystore = await keyring.get(name);
      await keystore.change(keyUuidOf(record), (now) => used(now) ?? now);
    } catch (thrown) {
      const error = asLuksmithError(thrown);
      logger.warn("could not record that a key is in use", { guest: guest.name, key: record.uuid, error });
    }
  }
}
