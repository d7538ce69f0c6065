import { asLuksmithError, LuksmithError } from "../../error/luksmith-error.js";
import { keyUuidOf } from "../key-record.js";
import { canDelete, type Key, type Keystore } from "../keystore.js";
import type { KeyUuid } from "../key-uuid.js";
import { differenceOf, keyConflict } from "./compare-keys.js";
import { keepLastCopy } from "./keep-last-copy.js";
import { PAUSES, type Pauses } from "./pauses.js";
import { bringTo, type Target } from "./target.js";

/** `copied`: the source cannot delete. `gone`: the source no longer has it, somebody else moved or deleted it. */
export type Move = "moved" | "copied" | "gone";

/**
 * Moves one key: it is in the target, and was fetched from there, before it is deleted from the source. Killed anywhere
 * between, it is in one of them or in both, and the next call goes on.
 *
 * The caller holds the locks of the guest and of the key, so that nobody on this host changes the key meanwhile. Of other
 * hosts that use the same keystores this much holds without a lock: what one of them has made of the key since it was
 * fetched is noticed before it is deleted; a hook never changes a passphrase; one there that looks for
 * the key finds it in one of the two, or, asking the target just before and the source just after, looks again (a
 * start that misses a key does); one that sets it to `active` at this very moment may do so in vain, and the next start
 * proves the passphrase again. Two hosts that move the same key in opposite directions could each delete what the
 * other one has just verified: so the target is looked at once more afterwards, and the key is put back if need be.
 * @throws KEY_CONFLICT (also for a key that has changed meanwhile: it stays where it was), KEY_IN_USE (the source keeps it for somebody else), whatever the keystores throw
 */
export async function moveKey(
  uuid: KeyUuid,
  from: Keystore,
  target: Target,
  pauses: Pauses = PAUSES,
): Promise<Move> {
  const key = await from.fetch(uuid);
  if (key === undefined) return "gone";
  using passphrase = key.passphrase;
  const brought = await bringTo(target, { ...key, passphrase }, `keystore ${from.name}`);
  await requireUnchanged(key, from, brought === "stored" ? target.keystore : undefined);
  if (!canDelete(from)) return "copied";
  try {
    await from.delete(uuid);
  } catch (thrown) {
    // it may be deleted all the same, when only the answer was lost; a refusal has changed nothing
    if (asLuksmithError(thrown).code !== "KEY_IN_USE") await keepLastCopy(key, from, target, pauses);
    throw thrown;
  }
  await keepLastCopy(key, from, target, pauses);
  return "moved";
}

/**
 * At the last instant before the source's key is deleted: a rotation that has come between must not lose the new
 * passphrase.
 * @param made has a copy of the key since this migration, which goes if it is outdated
 * @throws KEY_CONFLICT
 */
async function requireUnchanged(key: Key, from: Keystore, made: Keystore | undefined): Promise<void> {
  const { uuid } = key.record;
  const now = await from.fetch(keyUuidOf(key.record));
  using passphrase = now?.passphrase;
  // somebody else has moved or deleted it, and what the target has is all there is
  if (now === undefined || passphrase === undefined) return;
  const difference = differenceOf({ ...now, passphrase }, key);
  if (difference === "none") return;
  const isTaken = made !== undefined && canDelete(made);
  if (isTaken) await made.delete(keyUuidOf(key.record));
  throw new LuksmithError("KEY_CONFLICT", {
    what: `key ${uuid} has changed in keystore ${from.name} while it was moved: its ${difference}`,
    why: "somebody rotates it, or uses it for the first time",
    hint:
      made === undefined || isTaken
        ? "it is there as it was; run the command again"
        : `it is there as it was; keystore ${made.name} has an old copy, which Luksmith cannot delete: do that there`,
  });
}

/** What `moveKey` would do now. @throws KEY_CONFLICT, whatever the keystores throw */
export async function foreseeMove(uuid: KeyUuid, from: Keystore, to: Keystore): Promise<Move> {
  const key = await from.fetch(uuid);
  if (key === undefined) return "gone";
  using passphrase = key.passphrase;
  const present = await to.fetch(uuid);
  const difference = present === undefined ? "none" : differenceOf({ ...key, passphrase }, present);
  present?.passphrase.dispose();
  if (difference !== "none" && difference !== "state") {
    const task = `cannot bring key ${uuid} to keystore ${to.name}`;
    throw keyConflict(task, difference, [`keystore ${from.name}`, `keystore ${to.name}`]);
  }
  return canDelete(from) ? "moved" : "copied";
}
