import type { DiskInfo } from "../disk-info/disk-info.js";
import { printable } from "../error/printable.js";
import { shellWord } from "../error/shell-word.js";
import type { DataPlace } from "../host/data-place.js";
import type { PlaceOwner } from "./data-places.js";
import { backupOf, isEncrypted, whereOf } from "./data-places-of-disks.js";
import { guestConfigInvalid } from "./guest-config-invalid.js";
import { parseXml } from "./parse-xml.js";
import type { XmlElement } from "./xml-element.js";

/**
 * Places that a libvirt `<domainsnapshot>` names: memory, and the files that were put over the guest's disks.
 * @param disks of the guest, since an internal snapshot lies in the image that a disk is
 * @throws GUEST_CONFIG_INVALID
 */
export function dataPlacesOfSnapshot(
  xml: string,
  { id }: Pick<PlaceOwner, "id">,
  disks: DiskInfo,
): DataPlace[] {
  const snapshot = rootOf(xml, "domainsnapshot");
  const name = snapshot.element("name")?.text ?? "";
  const files = snapshot.element("disks")?.elements("disk") ?? [];
  const place = memoryOf(snapshot, files, disks);
  const overlays = files.flatMap((file) => overlay(file, printable(name)));
  if (place === undefined) return overlays;
  const detail = `${place.detail} of snapshot ${printable(name)}, with files that the guest had read`;
  // libvirt before 9.9 deletes no external snapshot, and leaves the file
  const hint = `virsh snapshot-delete ${id} --snapshotname ${shellWord(name)}; the memory's file, where it is left`;
  return [{ ...place, detail, ...(place.protection === "encrypted" ? {} : { hint }) }, ...overlays];
}

/** Places that the `<domainbackup>` of a running job names. @throws GUEST_CONFIG_INVALID */
export function dataPlacesOfBackup(xml: string): DataPlace[] {
  const disks = rootOf(xml, "domainbackup").element("disks")?.elements("disk") ?? [];
  return disks.flatMap((disk) => {
    if (disk.attribute("backup") === "no") return [];
    const target = disk.element("target") ?? disk.element("scratch");
    const isSafe = target?.element("encryption") !== undefined;
    const where = target === undefined ? {} : whereOf(target);
    return [backupOf(disk.attribute("name") ?? "?", where, isSafe ? "encrypted" : "plaintext")];
  });
}

function memoryOf(
  snapshot: XmlElement,
  files: readonly XmlElement[],
  { mapping }: DiskInfo,
): DataPlace | undefined {
  const element = snapshot.element("memory");
  const kind = "snapshot-memory";
  switch (element?.attribute("snapshot")) {
    case "external":
      return { kind, ...whereOf(element), protection: "plaintext", detail: "memory" };
    case "internal": {
      const images = files.filter((file) => file.attribute("snapshot") === "internal");
      // QEMU writes it into the image as it writes the disk
      const isSafe =
        images.length > 0 &&
        images.every((image) => mapping[image.attribute("name") ?? ""]?.encrypted === true);
      return isSafe
        ? { kind, protection: "encrypted", detail: "memory, inside of the image of an encrypted disk," }
        : { kind, protection: "plaintext", detail: "memory, inside of a disk's image," };
    }
    case undefined:
    default:
      return undefined;
  }
}

function overlay(file: XmlElement, name: string): DataPlace[] {
  const source = file.element("source");
  if (file.attribute("snapshot") !== "external" || source === undefined || isEncrypted(file)) return [];
  const disk = printable(file.attribute("name") ?? "?");
  return [
    {
      kind: "disk",
      ...whereOf(source),
      protection: "plaintext",
      detail: `what disk ${disk} got after snapshot ${name} was taken`,
      hint: "merge it into the disk (virsh blockcommit), then delete it",
    },
  ];
}

function rootOf(xml: string, name: string): XmlElement {
  const root = parseXml(xml);
  if (root.name === name && root.namespace === "") return root;
  throw guestConfigInvalid(`its root element is not libvirt's ${name}`);
}
