import type { EncryptionFormat } from "../encryption/luks-spec.js";
import { diskElements } from "../guest-config/domain.js";
import { backingSecretUuids, readEncryption } from "../guest-config/encryption-element.js";
import { guestConfigInvalid } from "../guest-config/guest-config-invalid.js";
import { printable } from "../error/printable.js";
import type { XmlElement } from "../guest-config/xml-element.js";
import { backingMappingKeys, type MappedDisk, mappedDisk } from "../guest-config/mapped-disk.js";
import { type MappingMetadata, readMappings } from "../guest-config/mapping-metadata.js";
import { type Volume, volumeName } from "../storage/volume.js";
import type { DiskInfo, DiskMapping, DiskType } from "./disk-info.js";
import { BootOrder } from "./domain-boot.js";
import { busOfDisk, defaultBuses } from "./domain-bus.js";
import { volumeOfDisk, volumeUnderMapping } from "./domain-volume.js";

/** disk_info of a libvirt `<domain>`; only `<disk>` devices, never `<filesystem>`. @throws GUEST_CONFIG_INVALID */
export function diskInfoFromDomain(domain: XmlElement): DiskInfo {
  const bootOrder = new BootOrder(domain);
  const metadata = readMappings(domain);
  const disks = [...diskElements(domain)].map(([dev, disk]) => {
    return mappingOf(dev, disk, bootOrder, metadata);
  });
  const busOfFirst = (...types: DiskType[]) => disks.find(({ type }) => types.includes(type))?.bus;
  const defaults = defaultBuses(domain);
  return {
    disk_bus: busOfFirst("disk", "lun") ?? defaults.disk,
    cdrom_bus: busOfFirst("cdrom") ?? defaults.cdrom,
    mapping: Object.fromEntries(disks.map((disk) => [disk.dev, disk])),
  };
}

function mappingOf(
  dev: string,
  disk: XmlElement,
  bootOrder: BootOrder,
  metadata: MappingMetadata,
): DiskMapping {
  const mapped = mappedDisk(dev, disk, metadata);
  const type = typeOf(dev, disk);
  const { volume, ...encryption } = mapped === undefined ? sourceOf(dev, disk) : underMapping(disk, mapped);
  const format = contentFormatOf(volume);
  const inside = mapped === undefined ? undefined : readEncryption(dev, disk)?.secretUuid;
  const backing = [
    ...backingSecretUuids(disk),
    ...backingMappingKeys(disk, metadata),
    ...(inside === undefined ? [] : [inside]),
  ];
  const boot = bootOrder.indexOf(dev, type, disk);
  return {
    bus: busOfDisk(dev, type, disk),
    dev,
    type,
    ...(format === undefined ? {} : { format }),
    ...(boot === undefined ? {} : { boot_index: boot }),
    ...encryption,
    volume,
    readOnly: type === "cdrom" || disk.element("readonly") !== undefined,
    ...(disk.element("shareable") === undefined ? {} : { shareable: true }),
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

type DiskSource = Pick<
  DiskMapping,
  "encrypted" | "encryption_format" | "encryption_options" | "encryption_secret_uuid" | "volume" | "mapping"
>;

/** What the disk names, and who opens it: QEMU, if anybody. */
function sourceOf(dev: string, disk: XmlElement): DiskSource {
  const volume = volumeOfDisk(dev, disk);
  const encryption = readEncryption(dev, disk);
  if (encryption === undefined) return { encrypted: false, volume };
  const format = novaFormatOf(encryption.format);
  const options =
    format === undefined ? { ...encryption.options, format: encryption.format } : encryption.options;
  return {
    encrypted: true,
    ...(format === undefined ? {} : { encryption_format: format }),
    ...(Object.keys(options).length === 0 ? {} : { encryption_options: options }),
    ...(encryption.secretUuid === undefined ? {} : { encryption_secret_uuid: encryption.secretUuid }),
    volume,
  };
}

/** What lies under the mapping that the disk names. A block besides, of what the mapping shows, is nothing of ours. */
function underMapping(disk: XmlElement, mapped: MappedDisk): DiskSource {
  switch (mapped.kind) {
    case "known": {
      const { name, format, secretUuid } = mapped.entry;
      return {
        ...{ encrypted: true, encryption_format: format, encryption_secret_uuid: secretUuid },
        ...{ volume: volumeUnderMapping(disk, mapped.entry), mapping: name },
      };
    }
    case "orphan": {
      const description = `what lies under mapping ${mapped.name}`;
      return {
        ...{ encrypted: true, encryption_secret_uuid: mapped.uuid },
        ...{ volume: { kind: "other", description, pathUnknown: true }, mapping: mapped.name },
      };
    }
  }
}

function novaFormatOf(format: string): EncryptionFormat | undefined {
  if (format === "luks") return "luks";
  return format === "luks2" ? "luksv2" : undefined;
}
