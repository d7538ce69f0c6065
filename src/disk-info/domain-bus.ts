import { guestConfigInvalid } from "../guest-config/guest-config-invalid.js";
import { printable } from "../error/printable.js";
import type { XmlElement } from "../guest-config/xml-element.js";
import { DISK_BUSES, type DiskBus, type DiskType } from "./disk-info.js";

/** As libvirt deduces it from the device name where `<target>` has no bus. */
const BUS_OF_PREFIX: readonly (readonly [prefix: string, bus: DiskBus])[] = [
  ["fd", "fdc"],
  ["hd", "ide"],
  ["sd", "scsi"],
  ["vd", "virtio"],
  ["xvd", "xen"],
  ["ubd", "uml"],
  ["nvme", "nvme"],
];

/** The bus that a `<disk>` is on. @throws GUEST_CONFIG_INVALID */
export function busOfDisk(dev: string, type: DiskType, disk: XmlElement): DiskBus {
  const written = disk.element("target")?.attribute("bus");
  if (written !== undefined) {
    const bus = DISK_BUSES.find((known) => known === written);
    if (bus !== undefined) return bus;
    throw guestConfigInvalid(`disk ${dev} is on "${printable(written)}", which is no bus of disks`);
  }
  return type === "floppy" ? "fdc" : busOfName(dev);
}

export function busOfName(dev: string): DiskBus {
  return BUS_OF_PREFIX.find(([prefix]) => dev.startsWith(prefix))?.[1] ?? "ide";
}

/** What a new disk or CD-ROM drive of this guest would be on, as Nova chooses, where it has none to go by. */
export function defaultBuses(domain: XmlElement): { readonly disk: DiskBus; readonly cdrom: DiskBus } {
  if (domain.attribute("type") === "xen") return { disk: "xen", cdrom: "ide" };
  const type = domain.element("os")?.element("type");
  const machine = type?.attribute("machine") ?? "";
  const arch = type?.attribute("arch") ?? "x86_64";
  // only PCs have IDE or AHCI for certain, and q35 has no IDE
  if (arch !== "x86_64" && arch !== "i686") return { disk: "virtio", cdrom: "scsi" };
  return { disk: "virtio", cdrom: machine.includes("q35") ? "sata" : "ide" };
}
