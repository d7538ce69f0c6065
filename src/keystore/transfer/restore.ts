import { asLuksmithError, type LuksmithError } from "../../error/luksmith-error.js";
import type { KeyRecord } from "../../generated/key-record.js";
import { type KeyLocks, lockedWith } from "../key-locks.js";
import { keyUuidOf } from "../key-record.js";
import type { Key } from "../keystore.js";
import { differenceOf, keyConflict } from "./compare-keys.js";
import { Despair } from "./despair.js";
import { eachBounded } from "./each-bounded.js";
import { bringTo, type Target } from "./target.js";

const KEYS_AT_A_TIME = 8;
const SOURCE = "the file";

export type RestoreResult = { readonly record: KeyRecord } & (
  | { readonly outcome: "stored" | "present" }
  | { readonly outcome: "failed"; readonly error: LuksmithError }
  /** Too many before it failed over a keystore that does not work. */
  | { readonly outcome: "not tried" }
);

/**
 * Stores the keys that the target lacks, and fetches each again; one that fails leaves the others alone. Running it
 * again goes on.
 * @param locks each key is under its lock while it is stored
 * @param settled hears of every key once
 */
export async function restoreKeys(
  keys: readonly Key[],
  target: Target,
  locks: Pick<KeyLocks, "hold">,
  manner: "apply" | "dry-run",
  settled: (result: RestoreResult) => void,
): Promise<void> {
  const despair = new Despair();
  await eachBounded(keys, KEYS_AT_A_TIME, async (key) => {
    const { record } = key;
    if (despair.isComplete) {
      settled({ record, outcome: "not tried" });
      return;
    }
    try {
      const outcome = await (manner === "apply"
        ? locks.hold(lockedWith(record), () => bringTo(target, key, SOURCE))
        : foresee(key, target));
      despair.end();
      settled({ record, outcome });
    } catch (thrown) {
      const error = asLuksmithError(thrown);
      despair.add(error);
      settled({ record, outcome: "failed", error });
    }
  });
}

async function foresee(key: Key, { keystore }: Target): Promise<"stored" | "present"> {
  const present = await keystore.fetch(keyUuidOf(key.record));
  if (present === undefined) return "stored";
  const difference = differenceOf(present, key);
  present.passphrase.dispose();
  if (difference === "none" || difference === "state") return "present";
  throw keyConflict(`cannot bring key ${key.record.uuid} to keystore ${keystore.name}`, difference, [
    SOURCE,
    `keystore ${keystore.name}`,
  ]);
}
