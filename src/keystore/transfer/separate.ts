import { setTimeout } from "node:timers/promises";
import { asLuksmithError, LuksmithError } from "../../error/luksmith-error.js";
import { keyUuidOf } from "../key-record.js";
import { canDelete, type KeyDeleter, type Keystore } from "../keystore.js";
import type { KeyUuid } from "../key-uuid.js";
import { throwAwayRecord } from "../round-trip.js";
import { Secret } from "../../secret/secret.js";
import { PAUSES, type Pauses } from "./pauses.js";
import type { Target } from "./target.js";

/**
 * Two instances of the settings can be one and the same store, by a symbolic link, two names of a server or a mistake,
 * or one the replica of the other: what is "in B already" would then be deleted from A, and be gone. A throw-away key in
 * one must not show in the other, either way, nor a moment later. Also tries that the target can be written at all.
 * @throws KEY_CONFLICT if they are one; whatever the keystores throw
 */
export async function requireSeparate(
  from: Keystore,
  { keystore: to, witness }: Target,
  pauses: Pauses = PAUSES,
): Promise<void> {
  const tries: Promise<void>[] = [];
  if (canDelete(to)) tries.push(tryOut(to, from, pauses));
  // where neither can delete, nothing is deleted
  if (canDelete(from))
    tries.push(canDelete(to) ? unlessFull(tryOut(from, witness, pauses)) : tryOut(from, witness, pauses));
  // all of them: each has a key to take away again
  for (const answer of await Promise.allSettled(tries)) if (answer.status === "rejected") throw answer.reason;
}

/** A keystore that takes no keys any more is what people move them away from. */
async function unlessFull(trial: Promise<void>): Promise<void> {
  try {
    await trial;
  } catch (thrown) {
    const { code } = asLuksmithError(thrown);
    if (code !== "KEYSTORE_WRITE_FAILED" && code !== "KEYSTORE_FORBIDDEN") throw thrown;
  }
}

async function tryOut(holder: Keystore & KeyDeleter, other: Keystore, pauses: Pauses): Promise<void> {
  const record = throwAwayRecord();
  const uuid = keyUuidOf(record);
  using passphrase = Secret.randomPassphrase();
  await holder.store({ record, passphrase });
  let isMirrored = false;
  try {
    isMirrored = await has(other, uuid);
    for (const pause of pauses) {
      if (isMirrored) break;
      await setTimeout(pause);
      isMirrored = await has(other, uuid);
    }
  } finally {
    await holder.delete(uuid);
  }
  if (!isMirrored) return;
  throw new LuksmithError("KEY_CONFLICT", {
    what: `keystores ${holder.name} and ${other.name} are one and the same store`,
    why: "a key that was stored in the one is in the other as well",
    hint: "nothing was moved; see in the settings where each of them keeps its keys",
  });
}

async function has(keystore: Keystore, uuid: KeyUuid): Promise<boolean> {
  const key = await keystore.fetch(uuid);
  key?.passphrase.dispose();
  return key !== undefined;
}
