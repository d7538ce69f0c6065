import { type Drive, parseVolumeId } from "../guest-config/proxmox/drive.js";
import { printable } from "../error/printable.js";
import { volumeOnBase } from "../host/proxmox/base-volume.js";
import { isYes, STORAGE_TYPE, type StorageConfig } from "../host/proxmox/storage-config.js";
import type { Volume, VolumeFormat } from "../storage/volume.js";

export interface DriveVolume {
  readonly volume: Volume;
  /** It lies on a storage of type luksmith. */
  readonly isEncrypted: boolean;
  /** Why it cannot be opened as an encrypted volume though it is one. */
  readonly problem?: string;
}

/** As the bridge takes names of volumes. */
const VOLUME_NAME = /^(vm|base)-[1-9][0-9]{2,8}-[A-Za-z0-9][A-Za-z0-9._-]{0,100}$/;

export function isVolumeName(name: string): boolean {
  return VOLUME_NAME.test(name);
}

/** Where a disk keeps its bytes. Nothing is opened; only what a storage backend may look at has a path to look at. */
export function volumeOfDrive({ file, options }: Drive, storages: StorageConfig): DriveVolume {
  if (file === "none") return { volume: { kind: "none" }, isEncrypted: false };
  if (file === "cdrom") return { volume: PHYSICAL_DRIVE, isEncrypted: false };
  if (file.startsWith("/")) return { volume: passedThrough(file, options), isEncrypted: false };
  const id = parseVolumeId(file);
  const storage = id === undefined ? undefined : storages.get(id.storage);
  // rules match volume IDs: local-lvm:*
  const other: Volume = { kind: "other", description: printable(`volume ${file}`), path: file };
  if (id === undefined || storage?.type !== STORAGE_TYPE) return { volume: other, isEncrypted: false };
  const refused = (problem: string): DriveVolume => ({ volume: other, isEncrypted: true, problem });
  // a linked clone is named after its template as well: base-100-disk-0/vm-101-disk-0
  const name = id.volume.split("/").at(-1) ?? "";
  if (storage.encrypted === undefined)
    return refused(`storage ${storage.id}: ${storage.problem ?? "unusable"}`);
  if (!isVolumeName(name)) return refused("its volume has a name that Proxmox VE does not give");
  // QEMU would put what the guest writes into a file of its own in /var/tmp, as it is
  if (isYes(options.get("snapshot")))
    return refused("it is in snapshot mode, which writes plaintext to /var/tmp");
  return { volume: volumeOnBase(storage.encrypted.base, name), isEncrypted: true };
}

const PHYSICAL_DRIVE: Volume = {
  kind: "other",
  description: "physical CD-ROM drive of the host",
  path: "/dev/cdrom",
};

/** A device or file of the host that the guest is given as it is, without a storage of Proxmox VE. */
function passedThrough(path: string, options: Drive["options"]): Volume {
  const obstacle = obstacleOf(path, options);
  if (obstacle !== undefined) return { kind: "other", description: printable(`${obstacle} ${path}`), path };
  const format = options.get("format") ?? "raw";
  const known: VolumeFormat = format === "raw" || format === "qcow2" ? format : "other";
  return { kind: path.startsWith("/dev/") ? "block" : "file", path, format: known };
}

function obstacleOf(path: string, options: Drive["options"]): string | undefined {
  if (path.length === 1 || /\p{Cc}/u.test(path)) return "odd path";
  if (isYes(options.get("snapshot"))) return "snapshot mode of";
  return isYes(options.get("scsiblock")) ? "SCSI LUN" : undefined;
}
