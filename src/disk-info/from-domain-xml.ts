import type { EncryptionFormat } from "../encryption/luks-spec.js";
import { diskElements } from "../guest-config/domain.js";
import { backingSecretUuids, readEncryption } from "../guest-config/encryption-element.js";
import { guestConfigInvalid } from "../guest-config/guest-config-invalid.js";
import { printable } from "../error/printable.js";
import type { XmlElement } from "../guest-config/xml-element.js";
import { type Volume, volumeName } from "../storage/volume.js";
import type { DiskInfo, DiskMapping, DiskType } from "./disk-info.js";
import { BootOrder } from "./domain-boot.js";
import { busOfDisk, defaultBuses } from "./domain-bus.js";
import { volumeOfDisk } from "./domain-volume.js";

/** disk_info of a libvirt `<domain>`; only `<disk>` devices, never `<filesystem>`. @throws GUEST_CONFIG_INVALID */
export function diskInfoFromDomain(domain: XmlElement): DiskInfo {
  const bootOrder = new BootOrder(domain);
  const disks = [...diskElements(domain)].map(([dev, disk]) => mappingOf(dev, disk, bootOrder));
  const busOfFirst = (...types: DiskType[]) => disks.find(({ type }) => types.includes(type))?.bus;
  const defaults = defaultBuses(domain);
  return {
    disk_bus: busOfFirst("disk", "lun") ?? defaults.disk,
    cdrom_bus: busOfFirst("cdrom") ?? defaults.cdrom,
    mapping: Object.fromEntries(disks.map((disk) => [disk.dev, disk])),
  };
}

function mappingOf(dev: string, disk: XmlElement, bootOrder: BootOrder): DiskMapping {
  const type = typeOf(dev, disk);
  const volume = volumeOfDisk(dev, disk);
  const format = contentFormatOf(volume);
  const backing = backingSecretUuids(disk);
  const boot = bootOrder.indexOf(dev, type, disk);
  return {
    bus: busOfDisk(dev, type, disk),
    dev,
    type,
    ...(format === undefined ? {} : { format }),
    ...(boot === undefined ? {} : { boot_index: boot }),
    ...encryptionOf(dev, disk),
    volume,
    readOnly: type === "cdrom" || disk.element("readonly") !== undefined,
    ...(backing.length === 0 ? {} : { backingSecretUuids: backing }),
  };
}

function typeOf(dev: string, disk: XmlElement): DiskType {
  const device = disk.attribute("device") ?? "disk";
  switch (device) {
    case "disk":
    case "cdrom":
    case "floppy":
    case "lun":
      return device;
    default:
      throw guestConfigInvalid(`disk ${dev} is a "${printable(device)}", which is no kind of disk`);
  }
}

/** Nova formats the swap disk and calls it so: `…/disk.swap`, or `<instance>_disk.swap` for a logical volume or an RBD image. */
function contentFormatOf(volume: Volume): string | undefined {
  const isOurs = volume.kind === "file" || volume.kind === "block" || volume.kind === "rbd";
  return isOurs && /[/_]disk\.swap$/.test(volumeName(volume)) ? "swap" : undefined;
}

type DiskEncryption = Pick<
  DiskMapping,
  "encrypted" | "encryption_format" | "encryption_options" | "encryption_secret_uuid"
>;

function encryptionOf(dev: string, disk: XmlElement): DiskEncryption {
  const encryption = readEncryption(dev, disk);
  if (encryption === undefined) return { encrypted: false };
  const format = novaFormatOf(encryption.format);
  const options =
    format === undefined ? { ...encryption.options, format: encryption.format } : encryption.options;
  return {
    encrypted: true,
    ...(format === undefined ? {} : { encryption_format: format }),
    ...(Object.keys(options).length === 0 ? {} : { encryption_options: options }),
    ...(encryption.secretUuid === undefined ? {} : { encryption_secret_uuid: encryption.secretUuid }),
  };
}

function novaFormatOf(format: string): EncryptionFormat | undefined {
  if (format === "luks") return "luks";
  return format === "luks2" ? "luksv2" : undefined;
}
