import { isDeepStrictEqual } from "node:util";
import { LuksmithError } from "../error/luksmith-error.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { Key } from "./keystore.js";

/** How many passphrases the key has had, with the one that it has. */
export function generationOf({ generation }: KeyRecord): number {
  return generation ?? 1;
}

/** Whether `current` is what it is to be replaced by: the answer to an attempt before was lost. */
export function isReplacedBy(current: Key, next: Key): boolean {
  return isDeepStrictEqual(current.record, next.record) && current.passphrase.equals(next.passphrase);
}

/**
 * Another passphrase is of a higher generation than the one that it replaces: of two that a keystore has for a moment
 * everybody knows which one holds.
 * @throws KEYSTORE_WRITE_FAILED
 */
export function requireNewer(keystore: string, current: Key, next: Key): void {
  if (current.passphrase.equals(next.passphrase)) return;
  if (generationOf(next.record) > generationOf(current.record)) return;
  throw new LuksmithError("KEYSTORE_WRITE_FAILED", {
    what: `cannot replace the passphrase of key ${current.record.uuid}`,
    why: `keystore ${keystore} has its passphrase number ${generationOf(current.record)} already, and was given another number ${generationOf(next.record)}`,
    hint: "somebody else has rotated it meanwhile: begin again",
  });
}

/** Another host does the same to the key: the lock of its guest holds on one host. */
export function replacedMeanwhile(keystore: string, uuid: string): LuksmithError {
  return new LuksmithError("KEYSTORE_WRITE_FAILED", {
    what: `cannot replace the passphrase of key ${uuid}`,
    why: `somebody else replaces it in keystore ${keystore} at this moment`,
    hint: "nothing was changed; begin again",
  });
}

/** One record for each key: a former passphrase that is still there has its own, which holds no more. */
export function newestOfEach(records: readonly KeyRecord[]): KeyRecord[] {
  const newest = new Map<string, KeyRecord>();
  for (const record of records) {
    const other = newest.get(record.uuid);
    if (other === undefined || generationOf(record) > generationOf(other)) newest.set(record.uuid, record);
  }
  return [...newest.values()];
}
