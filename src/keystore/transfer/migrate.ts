import { asLuksmithError, type LuksmithError } from "../../error/luksmith-error.js";
import type { KeyRecord } from "../../generated/key-record.js";
import type { GuestLocks } from "../../plan/guest-locks.js";
import { type KeyLocks, lockedWith } from "../key-locks.js";
import { keyUuidOf } from "../key-record.js";
import type { Keystore } from "../keystore.js";
import { Despair } from "./despair.js";
import { eachBounded } from "./each-bounded.js";
import { foreseeMove, type Move, moveKey } from "./move-key.js";
import type { Pauses } from "./pauses.js";
import { requireSeparate } from "./separate.js";
import type { Target } from "./target.js";

/**
 * Guests at a time, and keys of each. Not more: every operation on a keystore has an end in time, and a small server
 * works on one after the other; and a hook waits while all keys of its guest are moved.
 */
const GUESTS_AT_A_TIME = 4;
const KEYS_AT_A_TIME = 2;

export type MigrationResult = { readonly record: KeyRecord } & (
  | { readonly outcome: Move }
  | { readonly outcome: "failed"; readonly error: LuksmithError }
  /** Too many before it failed over a keystore that does not work. */
  | { readonly outcome: "not tried" }
);

export interface Migration {
  readonly from: Keystore;
  readonly target: Target;
  /** Of keys in `from`. What else guests get meanwhile is left there. */
  readonly records: readonly KeyRecord[];
  readonly locks: Pick<GuestLocks, "hold">;
  /** Its record may name another guest than the one whose disk it opens by now. */
  readonly keyLocks: Pick<KeyLocks, "hold">;
  readonly manner: "apply" | "dry-run";
  /** Between looks at one and the same keystore, if not the usual ones. */
  readonly pauses?: Pauses;
  /** Hears of every record once, as soon as it is settled. */
  readonly settled: (result: MigrationResult) => void;
}

/**
 * Moves keys, several at once; one that fails leaves the others alone. Can be killed and run again.
 * @throws KEY_CONFLICT if both are one store, or what the target throws at the first key: nothing was moved then
 */
export async function migrateKeys(migration: Migration): Promise<void> {
  const { from, target, records, manner, pauses } = migration;
  if (records.length === 0) return;
  if (manner === "apply") await requireSeparate(from, target, pauses);
  const despair = new Despair();
  await eachBounded(byGuest(records), GUESTS_AT_A_TIME, (ofGuest) => moveGuest(ofGuest, migration, despair));
}

async function moveGuest(
  records: readonly [KeyRecord, ...KeyRecord[]],
  migration: Migration,
  despair: Despair,
): Promise<void> {
  const { from, target, locks, keyLocks, manner, pauses, settled } = migration;
  const waiting = new Set(records);
  const settle = (result: MigrationResult) => {
    waiting.delete(result.record);
    settled(result);
  };
  const moveOne = async (record: KeyRecord) => {
    if (despair.isComplete) {
      settle({ record, outcome: "not tried" });
      return;
    }
    const uuid = keyUuidOf(record);
    try {
      const move =
        manner === "apply"
          ? keyLocks.hold(lockedWith(record), () => moveKey(uuid, from, target, pauses))
          : foreseeMove(uuid, from, target.keystore);
      const outcome = await move;
      despair.end();
      settle({ record, outcome });
    } catch (thrown) {
      const error = asLuksmithError(thrown);
      despair.add(error);
      settle({ record, outcome: "failed", error });
    }
  };
  const moveAll = () => eachBounded(records, KEYS_AT_A_TIME, moveOne);
  try {
    // each key is fetched again under the lock: what was listed may have changed since
    if (manner === "apply" && !despair.isComplete) await locks.hold(records[0].guest, moveAll);
    else await moveAll();
  } catch (thrown) {
    const error = asLuksmithError(thrown);
    for (const record of waiting) settle({ record, outcome: "failed", error });
  }
}

function byGuest(records: readonly KeyRecord[]): [KeyRecord, ...KeyRecord[]][] {
  const groups = new Map<string, [KeyRecord, ...KeyRecord[]]>();
  for (const record of records) {
    const group = groups.get(record.guest.id);
    if (group === undefined) groups.set(record.guest.id, [record]);
    else group.push(record);
  }
  return [...groups.values()];
}
