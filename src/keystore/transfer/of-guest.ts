import { LuksmithError } from "../../error/luksmith-error.js";
import { printable } from "../../error/printable.js";
import type { KeyRecord } from "../../generated/key-record.js";
import { keyUuidOf } from "../key-record.js";
import type { KeyUuid } from "../key-uuid.js";

/** A guest whose keys are wanted, by what a person calls it. */
export interface WantedGuest {
  /** Its name or id. */
  readonly called: string;
  /** What the host knows of the guest that is called so; absent where there is none, or none can be asked. */
  readonly known?: {
    readonly id: string;
    /** Keys that open its disks, whoever they were made for. */
    readonly uses: readonly KeyUuid[];
  };
}

/**
 * All records of a guest, which need not exist any more: records have the name of the day when their key was made, or
 * its id where it had no name yet, so that one name leads to the guest's id, and that to all of them.
 * @throws GUEST_NOT_FOUND, also if several guests had this name
 */
export function recordsOfGuest(
  records: readonly KeyRecord[],
  { called, known }: WantedGuest,
): readonly KeyRecord[] {
  const byName = new Set(records.filter(({ guest }) => guest.name === called).map(({ guest }) => guest.id));
  if (known !== undefined) {
    const uses = new Set(known.uses);
    const its = records.filter(
      (record) => record.guest.id === known.id || uses.has(keyUuidOf(record)) || isFormerOf(record, uses),
    );
    if (its.length > 0) return its;
    const [former] = byName;
    throw notFound(
      called,
      former === undefined
        ? undefined
        : `a guest that was called so once has some; to mean that one, use its id: ${former}`,
    );
  }
  const byId = records.filter(({ guest }) => guest.id === called.toLowerCase());
  if (byId.length > 0) return byId;
  const [id, another] = byName;
  if (id === undefined) throw notFound(called);
  if (another === undefined) return records.filter(({ guest }) => guest.id === id);
  throw new LuksmithError("GUEST_NOT_FOUND", {
    what: `there are keys of several guests that were called "${printable(called)}"`,
    hint: `use the id: ${[...byName].join(", ")}`,
  });
}

/** A key that another guest uses now may have been made, and so archived, for the one before. */
function isFormerOf({ archived }: KeyRecord, keys: ReadonlySet<string>): boolean {
  return archived !== undefined && keys.has(archived.of);
}

function notFound(called: string, hint = "see: luksmith keys list"): LuksmithError {
  return new LuksmithError("GUEST_NOT_FOUND", {
    what: `there are no keys of guest "${printable(called)}"`,
    why: "records have the guest's id, and the name that it had when the key was made",
    hint,
  });
}
