import { LuksmithError } from "../../error/luksmith-error.js";
import { keyUuidOf } from "../key-record.js";
import { canDelete, type KeyDeleter, type Keystore } from "../keystore.js";
import { throwAwayRecord } from "../round-trip.js";
import { Secret } from "../../secret/secret.js";

/**
 * Two instances of the settings can be one and the same store, by a symbolic link, two names of a server or a mistake:
 * what is "in B already" would then be deleted from A, and be gone. A throw-away key in one must not show in the other.
 * Also tries that the target can be written at all.
 * @throws KEY_CONFLICT if they are one; whatever the keystores throw
 */
export async function requireSeparate(from: Keystore, to: Keystore): Promise<void> {
  if (canDelete(to)) await tryOut(to, from);
  else if (canDelete(from)) await tryOut(from, to);
  // where neither can delete, nothing is deleted
}

async function tryOut(holder: Keystore & KeyDeleter, other: Keystore): Promise<void> {
  const record = throwAwayRecord();
  const uuid = keyUuidOf(record);
  using passphrase = Secret.randomPassphrase();
  await holder.store({ record, passphrase });
  let mirrored;
  try {
    mirrored = await other.fetch(uuid);
    mirrored?.passphrase.dispose();
  } finally {
    await holder.delete(uuid);
  }
  if (mirrored === undefined) return;
  throw new LuksmithError("KEY_CONFLICT", {
    what: `keystores ${holder.name} and ${other.name} are one and the same store`,
    why: "a key that was stored in the one is in the other as well",
    hint: "nothing was moved; see in the settings where each of them keeps its keys",
  });
}
