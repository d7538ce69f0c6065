import type { DiskMapping } from "../disk-info/disk-info.js";
import type { Guest } from "../host/host-adapter.js";

/** The guest's disk of a device name that anybody may have typed. */
export function diskOf({ disks }: Pick<Guest, "disks">, dev: string): DiskMapping | undefined {
  return Object.hasOwn(disks.mapping, dev) ? disks.mapping[dev] : undefined;
}
