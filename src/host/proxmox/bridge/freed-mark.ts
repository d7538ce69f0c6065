import type { KeyRecord } from "../../../generated/key-record.js";
import type { ProxmoxStorage } from "../../../generated/proxmox-storage.js";
import { markBase } from "../base/base-mark.js";
import { ProxmoxGuests } from "../guests.js";
import type { BridgeResources } from "./resources.js";

export type FreedMark = Required<Pick<KeyRecord, "freedAt">> & Pick<KeyRecord, "freedBy" | "freedFrom">;

/** What the record of a key says whose volume is destroyed now, so that nobody takes another place for this one. */
export function freedMark(
  { base, shared = false }: ProxmoxStorage,
  { clock, places }: Pick<BridgeResources, "clock" | "places">,
): FreedMark {
  const mark = base.type === "directory" ? markBase(base.path) : undefined;
  return {
    freedAt: clock.now().toISOString(),
    // on other nodes the same name of a base means something else, or nothing
    ...(shared || base.type === "rbd" ? {} : { freedBy: new ProxmoxGuests(places).node() }),
    ...(mark === undefined ? {} : { freedFrom: mark }),
  };
}
