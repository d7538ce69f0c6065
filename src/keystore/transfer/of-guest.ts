import { LuksmithError } from "../../error/luksmith-error.js";
import { printable } from "../../error/printable.js";
import type { KeyRecord } from "../../generated/key-record.js";

/**
 * The records of a guest, by its id or by the name of the day when its keys were made; it need not exist any more.
 * @throws GUEST_NOT_FOUND, also if several guests had this name
 */
export function recordsOfGuest(records: readonly KeyRecord[], nameOrId: string): KeyRecord[] {
  const byId = records.filter(({ guest }) => guest.id === nameOrId.toLowerCase());
  if (byId.length > 0) return byId;
  const byName = records.filter(({ guest }) => guest.name === nameOrId);
  const ids = new Set(byName.map(({ guest }) => guest.id));
  if (ids.size === 1) return byName;
  const name = printable(nameOrId);
  throw ids.size === 0
    ? new LuksmithError("GUEST_NOT_FOUND", {
        what: `there are no keys of guest "${name}"`,
        why: "records have the guest's UUID, and the name that it had when the key was made",
        hint: "see: luksmith keys list",
      })
    : new LuksmithError("GUEST_NOT_FOUND", {
        what: `there are keys of several guests that were called "${name}"`,
        hint: `use the UUID: ${[...ids].join(", ")}`,
      });
}
