import { asLuksmithError, LuksmithError } from "../../error/luksmith-error.js";
import { keyUuidOf } from "../key-record.js";
import type { Key, Keystore } from "../keystore.js";
import { insist, type Pauses } from "./pauses.js";
import type { Target } from "./target.js";

/**
 * To be asked after a key was deleted from `from`: the target still has it, or it is put back and this throws. The
 * passphrase at hand may be the last copy of it.
 * @throws KEY_CONFLICT if the target has it no more, or another passphrase; what the target throws if it does not say
 */
export async function keepLastCopy(key: Key, from: Keystore, target: Target, pauses: Pauses): Promise<void> {
  const { keystore, witness } = target;
  const uuid = keyUuidOf(key.record);
  const has = (holder: Keystore) => insist(() => passphraseIn(holder, key), pauses);
  const seen = await has(witness).catch(asLuksmithError);
  if (seen === "same") return;
  // one that does not answer is the second choice
  const places = seen === "none" ? [keystore, from] : [from, keystore];
  const place = await putBack(key, places, pauses);
  const where = place === undefined ? "it could not be put back" : `it was put back into ${place.name}`;
  if (seen instanceof LuksmithError) {
    throw seen.within(`keystore ${keystore.name} does not say whether it still has key ${uuid}; ${where}`);
  }
  throw new LuksmithError("KEY_CONFLICT", {
    what: `key ${uuid} ${seen === "another" ? "was replaced in" : "vanished from"} keystore ${keystore.name} while it was moved there; ${where}`,
    why: "somebody deleted it, or moves keys the other way",
    hint:
      place === undefined
        ? "do not stop its guest: find the key in a backup of the keystores or an export first"
        : "see that nobody else works on these keystores, then run the command again",
  });
}

/** The first place that has the key in the end. */
async function putBack(key: Key, places: readonly Keystore[], pauses: Pauses): Promise<Keystore | undefined> {
  for (const place of places) {
    try {
      await insist(() => storeOrFind(key, place), pauses);
      return place;
    } catch {
      // the other place is all that is left to try
    }
  }
  return undefined;
}

async function storeOrFind(key: Key, place: Keystore): Promise<void> {
  try {
    await place.store(key);
  } catch (thrown) {
    // an answer that got lost, or somebody else who was faster
    if ((await passphraseIn(place, key)) !== "same") throw thrown;
  }
}

async function passphraseIn(holder: Keystore, key: Key): Promise<"same" | "another" | "none"> {
  const found = await holder.fetch(keyUuidOf(key.record));
  if (found === undefined) return "none";
  using passphrase = found.passphrase;
  return passphrase.equals(key.passphrase) ? "same" : "another";
}
