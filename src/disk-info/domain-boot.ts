import { guestConfigInvalid } from "../guest-config/guest-config-invalid.js";
import { printable } from "../error/printable.js";
import type { XmlElement } from "../guest-config/xml-element.js";
import type { DiskType } from "./disk-info.js";

/** libvirt's `<os><boot dev>` means the first disk of these types. */
const BOOT_DEVICE: Readonly<Record<DiskType, string | undefined>> = {
  disk: "hd",
  lun: "hd",
  cdrom: "cdrom",
  floppy: "fd",
  fs: undefined,
};

/**
 * Tells the 1-based boot index of one disk after the other, in the order of the document: the disk's own
 * `<boot order>`; else, for the first disk, the first CD-ROM drive and the first floppy drive, the place of their
 * `<boot dev>` among the `<os>` element's, as QEMU gets it from libvirt. Undefined where neither is written.
 */
export class BootOrder {
  readonly #devices: readonly (string | undefined)[];
  readonly #taken = new Set<string>();

  constructor(domain: XmlElement) {
    this.#devices =
      domain
        .element("os")
        ?.elements("boot")
        .map((boot) => boot.attribute("dev")) ?? [];
  }

  /** @throws GUEST_CONFIG_INVALID */
  indexOf(dev: string, type: DiskType, disk: XmlElement): number | undefined {
    const order = disk.element("boot")?.attribute("order");
    if (order !== undefined) return parseOrder(dev, order);
    const device = BOOT_DEVICE[type];
    if (device === undefined || this.#taken.has(device)) return undefined;
    this.#taken.add(device);
    const place = this.#devices.indexOf(device);
    return place === -1 ? undefined : place + 1;
  }
}

function parseOrder(dev: string, order: string): number {
  if (/^[1-9][0-9]{0,8}$/.test(order)) return Number(order);
  throw guestConfigInvalid(
    `disk ${dev} has the boot order "${printable(order)}", which is no positive number`,
  );
}
