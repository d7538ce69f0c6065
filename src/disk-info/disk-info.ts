import type { EncryptionFormat } from "../encryption/luks-spec.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { Volume } from "../storage/volume.js";

/** Buses of libvirt's `<target bus>`. */
export const DISK_BUSES = [
  "ide",
  "fdc",
  "scsi",
  "virtio",
  "xen",
  "usb",
  "uml",
  "sata",
  "sd",
  "nvme",
  "none",
] as const;
export type DiskBus = (typeof DISK_BUSES)[number];

/** Nova's BlockDeviceType. */
export type DiskType = "disk" | "cdrom" | "floppy" | "fs" | "lun";

/**
 * The guest's disks as the specification "libvirt driver support for flavor and image defined ephemeral encryption"
 * defines disk_info, whose spelling it keeps. What is ours besides is in camel case.
 */
export interface DiskInfo {
  /** The default bus of disks: that of the guest's first disk. */
  readonly disk_bus: DiskBus;
  /** The default bus of CD-ROM drives: that of the guest's first one. */
  readonly cdrom_bus: DiskBus;
  /** By device name, in the order of the configuration. */
  readonly mapping: Readonly<Record<string, DiskMapping>>;
}

export interface DiskMapping {
  readonly bus: DiskBus;
  /** The device name as the host manager knows it: `vda`. */
  readonly dev: string;
  readonly type: DiskType;
  /** What an orchestrator formats the disk with before the guest sees it (`swap`, `ext4`), where it is known. */
  readonly format?: string;
  /** 1-based. */
  readonly boot_index?: number;
  /** Whether the configuration has an encryption block for it, ours or foreign, or a mapping of ours. */
  readonly encrypted: boolean;
  /** Absent for a block whose format Nova has no word for: it stands in the options as `format`, and is foreign. */
  readonly encryption_format?: EncryptionFormat;
  /** As the encryption block has them: `engine`, `cipher.name`, … */
  readonly encryption_options?: Readonly<Record<string, string>>;
  /** Absent for a block that names no secret, or not one alone, by UUID. */
  readonly encryption_secret_uuid?: KeyUuid;

  /** What the guest's data lie in; what the configuration itself names may be a mapping over it. */
  readonly volume: Volume;
  /** Name in /dev/mapper of the mapping that the guest is given; absent where it is given the volume itself. */
  readonly mapping?: string;
  /**
   * What the host found at a disk that its configuration calls plain, by a look at its first bytes: a LUKS header.
   * `named`: how the guest would be given the volume so that it is decrypted, where there is a way.
   */
  readonly looksEncrypted?: { readonly volume: Volume; readonly named?: string };
  /** To the guest. */
  readonly readOnly: boolean;
  /** A medium that the host manager makes for this guest, with its users' passwords: a cloud-init drive. */
  readonly madeForGuest?: true;
  /** Its volume is a clone that shares the blocks of another one, with its LUKS header: the key opens both. */
  readonly linkedClone?: true;
  /** Other guests may have it at the same time. */
  readonly shareable?: true;
  /** Secret UUIDs of encrypted layers under the volume: it is a snapshot's file, or another overlay. */
  readonly backingSecretUuids?: readonly KeyUuid[];
}
