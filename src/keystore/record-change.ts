import { isDeepStrictEqual } from "node:util";
import { LuksmithError } from "../error/luksmith-error.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { RecordChange } from "./keystore.js";
import { generationOf } from "./replacement.js";

/** Whether a keystore would give back one for the other. */
export function isSameRecord(one: KeyRecord, other: KeyRecord): boolean {
  return isDeepStrictEqual(asStored(one), asStored(other));
}

/** `change`, held to what every change leaves as it is. It throws KEYSTORE_WRITE_FAILED. */
export function keepingKey(keystore: string, change: RecordChange): RecordChange {
  return (current) => {
    const changed = change(current);
    if (changed.uuid === current.uuid && generationOf(changed) === generationOf(current)) return changed;
    throw new LuksmithError("KEYSTORE_WRITE_FAILED", {
      what: `cannot change the record of key ${current.uuid} in keystore ${keystore}`,
      why: "another UUID, or another number of its passphrase, is another key's",
    });
  };
}

/** What makes `record` of any other that it does not fall behind. It throws KEY_CONFLICT. */
export function updatedTo(keystore: string, record: KeyRecord): RecordChange {
  return (current) => {
    const lost = lostIn(current, record);
    if (lost === undefined) return record;
    throw conflict(`cannot update key ${record.uuid}`, keystore, `what it is given has not ${lost}`);
  };
}

/** @throws KEY_CONFLICT if the keystore has another record than the one that the caller has read */
export function requireExpected(keystore: string, current: KeyRecord, expected: KeyRecord | undefined): void {
  if (expected === undefined || isSameRecord(current, expected)) return;
  throw changedMeanwhile(keystore, current.uuid);
}

/** KEY_CONFLICT: the passphrase stays what it was. */
export function changedMeanwhile(keystore: string, uuid: string): LuksmithError {
  return conflict(
    `cannot replace the passphrase of key ${uuid}`,
    keystore,
    "its record is another one by now",
  );
}

export function contended(keystore: string, uuid: string): LuksmithError {
  return new LuksmithError("KEYSTORE_WRITE_FAILED", {
    what: `cannot update key ${uuid}`,
    why: `others change it in keystore ${keystore} all the time`,
    hint: "try again",
  });
}

/** What `record` does not know of: it was read before that was written. */
function lostIn(current: KeyRecord, record: KeyRecord): string | undefined {
  if (generationOf(record) < generationOf(current)) return `its passphrase number ${generationOf(current)}`;
  if (current.rotation !== undefined && record.rotation === undefined) return "the rotation that has begun";
  if (current.conversion !== undefined && record.conversion === undefined)
    return "the conversion that has begun";
  const known = new Set(record.recovery?.map(({ keyslot }) => keyslot));
  const unknown = current.recovery?.find(({ keyslot }) => !known.has(keyslot));
  return unknown && `its recovery keyslot ${unknown.keyslot}`;
}

function conflict(what: string, keystore: string, why: string): LuksmithError {
  return new LuksmithError("KEY_CONFLICT", {
    what,
    why: `somebody else has changed it in keystore ${keystore} meanwhile: ${why}`,
    hint: "nothing was changed; begin again",
  });
}

/** Keystores keep JSON, which has no undefined members. */
function asStored(record: KeyRecord): unknown {
  return JSON.parse(JSON.stringify(record));
}
