import { isDeepStrictEqual } from "node:util";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { KeyRecord } from "../../generated/key-record.js";
import type { Key } from "../keystore.js";
import { generationOf } from "../replacement.js";

/**
 * How two keys of one UUID differ; `state`: in nothing but how far their disk has come; `generation`: one is from before
 * a rotation of the other.
 */
export type Difference = "none" | "state" | "record" | "passphrase" | "generation";

/** A difference that nobody but the administrator can settle. */
export type Conflict = Exclude<Difference, "none" | "state">;

export function differenceOf(one: Key, other: Key): Difference {
  if (generationOf(one.record) !== generationOf(other.record)) return "generation";
  if (!one.passphrase.equals(other.passphrase)) return "passphrase";
  if (isDeepStrictEqual(one.record, other.record)) return "none";
  return isDeepStrictEqual(settled(one.record), settled(other.record)) ? "state" : "record";
}

/** Without how far the disk has come: from new to in use to destroyed. */
function settled(record: KeyRecord): KeyRecord {
  const active: KeyRecord = { ...record, state: "active" };
  delete active.freedAt;
  delete active.freedBy;
  delete active.freedFrom;
  return active;
}

/** Two keystores, or a keystore and an escrow file, disagree about a key; nobody but the administrator can tell. */
export function keyConflict(
  task: string,
  difference: Conflict,
  places: readonly [string, string],
): LuksmithError {
  const [one, other] = places;
  const differing: Record<Conflict, string> = {
    generation: `${one} and ${other} have different generations of the key: it was rotated since one of them got it`,
    passphrase: `${one} and ${other} have different passphrases under this UUID`,
    record: `${one} and ${other} have different records under this UUID`,
  };
  return new LuksmithError("KEY_CONFLICT", {
    what: task,
    why: differing[difference],
    hint:
      difference === "generation"
        ? "nothing was changed for this key; the higher generation opens the disk: luksmith keys show UUID"
        : "nothing was changed for this key; find out which one opens the disk before you delete the other one",
  });
}
