import { diskInArgs } from "../guest-config/proxmox/args-disks.js";
import {
  type Drive,
  DISK_INTERFACES,
  type DriveName,
  isCloudInit,
  parseDrive,
  parseDriveName,
} from "../guest-config/proxmox/drive.js";
import type { VmOptions } from "../guest-config/proxmox/vm-config.js";
import { type StorageConfig, isYes } from "../host/proxmox/storage-config.js";
import type { DiskBus, DiskInfo, DiskMapping, DiskType } from "./disk-info.js";
import { volumeOfDrive } from "./vm-volume.js";
import { bootIndexes } from "./vm-boot.js";

/** A disk of a Proxmox VE guest, as its configuration names it. */
export interface VmDrive extends DriveName, Drive {}

/** In the order in which Proxmox VE goes through them; unused volumes are no disks. @throws GUEST_CONFIG_INVALID */
export function drivesOf(config: VmOptions): VmDrive[] {
  const names = Object.keys(config).flatMap((option) => parseDriveName(option) ?? []);
  const place = ({ interface: name, index }: DriveName) => DISK_INTERFACES.indexOf(name) * 1000 + index;
  return names
    .sort((one, other) => place(one) - place(other))
    .map((name) => ({ ...name, ...parseDrive(name.dev, config[name.dev] ?? "") }));
}

/**
 * disk_info of a Proxmox VE guest. Disks on a storage of type luksmith are encrypted, whose keys their LUKS headers
 * name and not the configuration: `encryption_secret_uuid` is absent. A disk `args` stands for those that the guest has
 * by arguments for QEMU. @throws GUEST_CONFIG_INVALID
 */
export function diskInfoFromVmConfig(config: VmOptions, storages: StorageConfig): DiskInfo {
  const drives = drivesOf(config);
  const boot = bootIndexes(config, drives);
  const disks = [
    ...drives.map((drive) => mappingOf(drive, boot.get(drive.dev), storages)),
    ...hiddenDisk(config["args"] ?? ""),
  ];
  const busOfFirst = (...types: DiskType[]) =>
    disks.find(({ type, bus }) => types.includes(type) && bus !== "none")?.bus;
  return {
    disk_bus: busOfFirst("disk", "lun") ?? "scsi",
    cdrom_bus: busOfFirst("cdrom") ?? (config["arch"] === "aarch64" ? "scsi" : "ide"),
    mapping: Object.fromEntries(disks.map((disk) => [disk.dev, disk])),
  };
}

function mappingOf(drive: VmDrive, boot: number | undefined, storages: StorageConfig): DiskMapping {
  const type = typeOf(drive);
  const { volume, isEncrypted } = volumeOfDrive(drive, storages);
  return {
    bus: busOf(drive),
    dev: drive.dev,
    type,
    ...(boot === undefined ? {} : { boot_index: boot }),
    encrypted: isEncrypted,
    ...(isEncrypted ? { encryption_format: "luks" } : {}),
    volume,
    readOnly: type === "cdrom" || isYes(drive.options.get("ro")),
    ...(isEncrypted && drive.file.includes("/") ? { linkedClone: true } : {}),
    ...(type === "cdrom" && (isEncrypted || isCloudInit(drive)) ? { madeForGuest: true } : {}),
  };
}

/** Stands for all disks that the guest is given by arguments for QEMU, which nobody but QEMU understands. */
function hiddenDisk(args: string): DiskMapping[] {
  const option = diskInArgs(args);
  if (option === undefined) return [];
  const volume = { kind: "other", description: `${option} in args`, pathUnknown: true } as const;
  return [{ bus: "none", dev: "args", type: "disk", encrypted: false, volume, readOnly: false }];
}

function typeOf({ options, file }: VmDrive): DiskType {
  if (options.get("media") === "cdrom") return "cdrom";
  // SCSI commands pass by QEMU's block layer
  return isYes(options.get("scsiblock")) && file.startsWith("/") ? "lun" : "disk";
}

function busOf({ interface: name }: DriveName): DiskBus {
  switch (name) {
    case "ide":
    case "scsi":
    case "virtio":
    case "sata":
      return name;
    // flash memory, and a device of its own
    case "efidisk":
    case "tpmstate":
      return "none";
  }
}
