import type { KeyRecord } from "../generated/key-record.js";
import type { KeyQuery } from "./keystore.js";

/** Whether `record` has every attribute of `query`; an empty query matches all. */
export function matchesQuery({ guest, volume, state, archived }: KeyRecord, query: KeyQuery): boolean {
  return (
    (query.guestId === undefined || query.guestId === guest.id) &&
    (query.volume === undefined || query.volume === volume) &&
    (query.state === undefined || query.state === state) &&
    (query.archivedOf === undefined || query.archivedOf === archived?.of)
  );
}
