import { visible } from "../error/printable.js";
import type { Guest } from "../host/host-adapter.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { Cached } from "../keystore/keyring.js";
import type { Logger } from "../log/logger.js";
import type { DiskFacts, KeyFact } from "./facts.js";

/** A key that this host has a copy of, and uses because its keystore does not answer. */
export interface KeyCopy {
  readonly disk: string;
  readonly uuid: KeyUuid;
  /** Name of the keystore. */
  readonly keystore: string;
  readonly cached: Cached;
}

/** The copies among the keys that open the guest's disks. */
export function copiesIn(facts: readonly DiskFacts[]): KeyCopy[] {
  return facts.flatMap((fact) => {
    if (fact.kind === "plain") return [];
    const keys = [{ uuid: fact.uuid, key: fact.key }, ...fact.bases];
    return keys.flatMap(({ uuid, key }) => copyOf(fact.disk.dev, uuid, key));
  });
}

function copyOf(disk: string, uuid: KeyUuid, key: KeyFact): KeyCopy[] {
  if (key.kind !== "found" || key.cached === undefined) return [];
  return [{ disk, uuid, keystore: key.keystore, cached: key.cached }];
}

/** The administrator must see that a guest came up without its keystore, which may have withdrawn the key since. */
export function warnOfCopy(
  { name: guest }: Pick<Guest, "name">,
  { disk, uuid: key, keystore, cached: { since, error } }: KeyCopy,
  logger: Logger,
): void {
  const copy = `a copy of key ${key}, which keystore ${keystore} gave out at ${since.toISOString()}`;
  const reason = error.why === undefined ? error.message : `${error.message} (${error.why})`;
  const text = `disk ${disk} of guest ${guest} is opened with ${copy}: ${reason}`;
  logger.warn(visible(text), { guest, disk, key });
}
