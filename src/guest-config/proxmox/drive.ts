import { printable } from "../../error/printable.js";
import { guestConfigInvalid } from "../guest-config-invalid.js";

/** The value of a disk in a VM's configuration: `enc:vm-100-disk-0,size=32G,ssd=1`. */
export interface Drive {
  /** A volume ID, an absolute path, `none` or `cdrom`. */
  readonly file: string;
  /** By name; what is not known here is here too. */
  readonly options: ReadonlyMap<string, string>;
}

/** Where disks are in a VM's configuration, in the order in which Proxmox VE goes through them. */
export const DISK_INTERFACES = ["ide", "scsi", "virtio", "sata", "efidisk", "tpmstate"] as const;
export type DiskInterface = (typeof DISK_INTERFACES)[number];

export interface DriveName {
  readonly dev: string;
  readonly interface: DiskInterface;
  readonly index: number;
}

/** `scsi0`; undefined for an option that is no disk of the guest, as `unused0` is none. */
export function parseDriveName(option: string): DriveName | undefined {
  const [, name, digits] = /^([a-z]+)(0|[1-9][0-9]?)$/.exec(option) ?? [];
  const found = DISK_INTERFACES.find((known) => known === name);
  if (found === undefined || digits === undefined) return undefined;
  const isSingle = found === "efidisk" || found === "tpmstate";
  return isSingle && digits !== "0" ? undefined : { dev: option, interface: found, index: Number(digits) };
}

/** @throws GUEST_CONFIG_INVALID for what names no volume, or two */
export function parseDrive(dev: string, value: string): Drive {
  const options = new Map<string, string>();
  const files: string[] = [];
  for (const part of value.split(",")) {
    const equals = part.indexOf("=");
    const name = part.slice(0, equals);
    if (equals === -1 && part.trim() !== "") files.push(part);
    else if (name === "file" || name === "volume") files.push(part.slice(equals + 1));
    else if (equals > 0) options.set(name, part.slice(equals + 1));
  }
  const [file, another] = files;
  if (file !== undefined && file !== "" && another === undefined) return { file, options };
  const what = another === undefined ? "names no volume" : "names two volumes";
  throw guestConfigInvalid(`disk ${dev} ${what}: "${printable(value)}"`);
}

export interface VolumeId {
  /** ID of the storage. */
  readonly storage: string;
  /** The volume's name there: `base-100-disk-0/vm-101-disk-0` for a linked clone. */
  readonly volume: string;
}

/** Undefined for what is no volume ID: a path, an empty drive. */
export function parseVolumeId(file: string): VolumeId | undefined {
  const [, storage, volume] = /^([a-z][a-z0-9_.-]*[a-z0-9]):(.+)$/is.exec(file) ?? [];
  return storage === undefined || volume === undefined ? undefined : { storage, volume };
}

/** Whether the medium is one that Proxmox VE makes for this guest: its users' passwords and keys are in it. */
export function isCloudInit({ file }: Pick<Drive, "file">): boolean {
  return /[:/](vm-[0-9]+-)?cloudinit(\.(raw|qcow2?|qed|vmdk|cloop))?$/.test(file);
}
