import { isDeepStrictEqual } from "node:util";
import { LuksmithError } from "../../error/luksmith-error.js";
import { keyUuidOf } from "../key-record.js";
import type { Key, Keystore } from "../keystore.js";
import { differenceOf, keyConflict } from "./compare-keys.js";

/** A keystore that keys are brought to. */
export interface Target {
  readonly keystore: Keystore;
  /** Another instance on the same keys: what it fetches was stored, and is not merely remembered. */
  readonly witness: Keystore;
}

/**
 * Sees to it that the target has the key, with its passphrase, and in the state `active` if either of the two says so:
 * that was proven, whoever wrote it down.
 * @param source what messages call the place that the key comes from
 * @returns whether it was there before
 * @throws KEY_CONFLICT, KEYSTORE_ANSWER_INVALID (what was stored does not come back), whatever the keystores throw
 */
export async function bringTo(
  { keystore, witness }: Target,
  key: Key,
  source: string,
): Promise<"stored" | "present"> {
  const present = await keystore.fetch(keyUuidOf(key.record));
  if (present === undefined) {
    await keystore.store(key);
    await requireStored(witness, key);
    return "stored";
  }
  using passphrase = present.passphrase;
  const expected = { record: await settleRecord(keystore, present, key, source), passphrase };
  await requireStored(witness, expected);
  return "present";
}

/** The record that the target has in the end. */
async function settleRecord(keystore: Keystore, present: Key, { record, passphrase }: Key, source: string) {
  const difference = differenceOf(present, { record, passphrase });
  switch (difference) {
    case "none":
      return record;
    case "state":
      if (record.state !== "active") return present.record;
      return await keystore.change(keyUuidOf(record), (current) =>
        isDeepStrictEqual(current, present.record) ? record : current,
      );
    case "record":
    case "passphrase":
    case "generation":
      throw keyConflict(`cannot bring key ${record.uuid} to keystore ${keystore.name}`, difference, [
        source,
        `keystore ${keystore.name}`,
      ]);
  }
}

async function requireStored(witness: Keystore, expected: Key): Promise<void> {
  const returned = await witness.fetch(keyUuidOf(expected.record));
  const difference = returned === undefined ? "absence" : differenceOf(returned, expected);
  returned?.passphrase.dispose();
  if (difference === "none") return;
  throw new LuksmithError("KEYSTORE_ANSWER_INVALID", {
    what: `keystore ${witness.name} does not give key ${expected.record.uuid} back as it was stored`,
    why: difference === "absence" ? "it is not there" : `its ${difference} has changed`,
    hint: `try it: luksmith settings test ${witness.name}`,
  });
}
