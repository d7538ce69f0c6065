import { diskInfoFromDomain } from "../disk-info/from-domain-xml.js";
import type { DataPlace } from "../host/data-place.js";
import { placesOfDevices } from "./data-places-of-devices.js";
import { placesOfDisks } from "./data-places-of-disks.js";
import { placesOfFirmware } from "./data-places-of-firmware.js";
import { placesOfMemory } from "./data-places-of-memory.js";
import { parseDomain } from "./domain.js";

/** Whose places they are. */
export interface PlaceOwner {
  /** The domain's UUID. */
  readonly id: string;
  readonly name: string;
  readonly running: boolean;
  /** Which of its definitions is looked at: a command that takes a device away has to say. */
  readonly definition: "persistent" | "live";
}

/** The label of a file system; undefined for a volume that has none. */
export type LabelOf = (path: string) => string | undefined;

/**
 * Places besides the guest's encrypted disks that a libvirt domain XML names, or that libvirt makes of it. What it says
 * of a file is what holds if the file is there. @throws GUEST_CONFIG_INVALID
 */
export function dataPlacesOfDomain(xml: string, owner: PlaceOwner, labelOf: LabelOf): DataPlace[] {
  const domain = parseDomain(xml);
  return [
    ...placesOfDisks(domain, diskInfoFromDomain(domain), owner, labelOf),
    ...placesOfFirmware(domain, owner),
    ...placesOfMemory(domain, owner),
    ...placesOfDevices(domain),
  ];
}
