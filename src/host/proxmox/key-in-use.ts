import type { KeyRecord } from "../../generated/key-record.js";
import type { Guest } from "../../host/host-adapter.js";
import { settledRecord } from "./bridge/volume-keys.js";

/**
 * What the record of a key says once its volume is used: it is active and not freed, and names the guest that had no
 * name yet when the volume was made. Undefined where it says that already.
 */
export function inUse(record: KeyRecord, guest: Pick<Guest, "id" | "name">): KeyRecord | undefined {
  // it opens old copies, and never is a volume's key
  if (record.state === "archived") return undefined;
  const { id, name } = record.guest;
  const isNamed = name !== id || id !== guest.id || guest.name === name;
  if (record.freedAt === undefined && record.state === "active" && isNamed) return undefined;
  return { ...settledRecord(record), guest: isNamed ? record.guest : { id, name: guest.name } };
}
