import type { DiskMapping } from "../disk-info/disk-info.js";

/**
 * Whether a disk is spoken about by whoever asks for "the guest's disks": those that can hold data of the guest.
 * Not CD-ROMs, floppies and empty drives, but for a medium that the host manager makes for this guest alone. Not a disk that the guest can only read and that has no encryption block:
 * nothing of the guest gets there, and an image that others share must not be formatted; once it becomes writable,
 * it counts.
 */
export function holdsGuestData(disk: DiskMapping): boolean {
  switch (disk.type) {
    case "disk":
    case "lun":
      return disk.volume.kind !== "none" && (!disk.readOnly || disk.encrypted);
    case "cdrom":
      return disk.madeForGuest === true;
    case "floppy":
    case "fs":
      return false;
  }
}
