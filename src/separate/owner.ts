import type { DiskMapping } from "../disk-info/disk-info.js";
import type { Guest } from "../host/host-adapter.js";
import type { RecordChange } from "../keystore/keystore.js";
import { volumeName } from "../storage/volume.js";

/** That a key's volume was moved: its record names the disk that has it now. */
export function ownedBy(
  { id, name }: Pick<Guest, "id" | "name">,
  { dev, volume }: Pick<DiskMapping, "dev" | "volume">,
): RecordChange {
  return (record) => ({ ...record, guest: { id, name }, disk: dev, volume: volumeName(volume) });
}
