import { LuksmithError } from "../error/luksmith-error.js";
import { guestConfigInvalid } from "./guest-config-invalid.js";
import { parseXml } from "./parse-xml.js";
import { printable } from "../error/printable.js";
import type { XmlElement } from "./xml-element.js";

/** The `<domain>` of a libvirt domain XML. @throws GUEST_CONFIG_INVALID */
export function parseDomain(xml: string): XmlElement {
  const root = parseXml(xml);
  if (root.name === "domain" && root.namespace === "") return root;
  throw guestConfigInvalid("its root element is not libvirt's domain");
}

/**
 * libvirt's device names (domaincommon.rng, diskTargetDev; `nvme` since 11.5). They become parts of host secrets'
 * usage names and of command lines.
 */
const DEVICE_NAME = /^(?:fd|hd|sd|vd|xvd|ubd|nvme)[a-zA-Z0-9_]{1,32}$/;

/** The domain's `<disk>` elements by device name, in the order of the document. @throws GUEST_CONFIG_INVALID */
export function diskElements(domain: XmlElement): ReadonlyMap<string, XmlElement> {
  const disks = new Map<string, XmlElement>();
  for (const disk of domain.element("devices")?.elements("disk") ?? []) {
    const dev = disk.element("target")?.attribute("dev");
    if (dev === undefined) throw guestConfigInvalid(`disk number ${disks.size + 1} has no target device`);
    if (!DEVICE_NAME.test(dev)) throw guestConfigInvalid(`"${printable(dev)}" is no device name of a disk`);
    if (disks.has(dev)) throw guestConfigInvalid(`two disks have the device name ${dev}`);
    disks.set(dev, disk);
  }
  return disks;
}

/** @throws DISK_NOT_FOUND, GUEST_CONFIG_INVALID */
export function diskNamed(domain: XmlElement, dev: string): XmlElement {
  const disk = diskElements(domain).get(dev);
  if (disk !== undefined) return disk;
  throw new LuksmithError("DISK_NOT_FOUND", { what: `the guest has no disk ${printable(dev)}` });
}
