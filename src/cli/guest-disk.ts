import type { DiskMapping } from "../disk-info/disk-info.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { printable } from "../error/printable.js";
import type { Guest } from "../host/host-adapter.js";
import { holdsGuestData } from "../request/guest-data.js";

/** The disk of this device name. @throws DISK_NOT_FOUND; VOLUME_UNSUPPORTED for a drive that holds no data of the guest */
export function requireDisk(guest: Guest, dev: string): DiskMapping {
  const disks = new Map(Object.entries(guest.disks.mapping));
  const disk = disks.get(dev);
  if (disk === undefined) {
    throw new LuksmithError("DISK_NOT_FOUND", {
      what: `guest ${guest.name} has no disk ${printable(dev)}`,
      hint: disks.size === 0 ? "it has no disks" : `it has ${[...disks.keys()].join(", ")}`,
    });
  }
  if (holdsGuestData(disk)) return disk;
  throw new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `disk ${dev} of guest ${guest.name} cannot be encrypted`,
    why: "it is a CD-ROM, a floppy, read-only or empty",
  });
}
