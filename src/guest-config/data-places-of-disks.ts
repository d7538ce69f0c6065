import type { DiskInfo, DiskMapping } from "../disk-info/disk-info.js";
import { printable } from "../error/printable.js";
import { shellWord } from "../error/shell-word.js";
import type { DataPlace } from "../host/data-place.js";
import { volumeName } from "../storage/volume.js";
import type { LabelOf, PlaceOwner } from "./data-places.js";
import { placeOfMedium } from "./data-places-of-media.js";
import { diskElements } from "./domain.js";
import type { XmlElement } from "./xml-element.js";

/** Disks that are not encrypted, media, layers under a disk, and where a running block job copies a disk to. */
export function placesOfDisks(
  domain: XmlElement,
  disks: DiskInfo,
  owner: PlaceOwner,
  labelOf: LabelOf,
): DataPlace[] {
  return [...diskElements(domain)].flatMap(([dev, element]) => {
    const disk = disks.mapping[dev];
    const places = disk === undefined ? [] : placesOfDisk(disk, owner, labelOf);
    return [...places, ...temporaryOverlay(dev, element), ...layers(dev, element), ...copy(dev, element)];
  });
}

function placesOfDisk(disk: DiskMapping, owner: PlaceOwner, labelOf: LabelOf): DataPlace[] {
  if (disk.encrypted || disk.volume.kind === "none") return [];
  return [placeOfMedium(disk, owner, labelOf) ?? plainDisk(disk, owner)];
}

function plainDisk({ dev, volume, format, readOnly }: DiskMapping, owner: PlaceOwner): DataPlace {
  const where = volumeName(volume);
  if (readOnly) {
    const detail = `disk ${dev} is not encrypted; the guest can only read it`;
    return { kind: "disk", where, protection: "possible", detail };
  }
  const detail =
    format === "swap"
      ? `disk ${dev} is not encrypted; the guest swaps its memory to it`
      : `disk ${dev} is not encrypted`;
  const copied = "attach a new encrypted disk and copy the data inside the guest";
  const protect = `luksmith protect ${shellWord(owner.name)} --disk ${shellWord(dev)} --convert`;
  // a disk that the running guest alone has is not in the definition that this command changes
  const hint = owner.definition === "live" ? copied : `encrypt it: ${protect}`;
  return { kind: "disk", where, protection: "plaintext", detail, hint };
}

/** QEMU writes what a guest changes on it into a plain qcow2 file that libvirt deletes after the guest's stop. */
function temporaryOverlay(dev: string, disk: XmlElement): DataPlace[] {
  if (disk.element("transient") === undefined) return [];
  const detail = `disk ${dev} is transient: what the guest writes goes to a plain file beside it until the guest stops`;
  return [{ kind: "disk", protection: "possible", detail }];
}

/** Encrypted ones are left out, as encrypted disks are. */
function layers(dev: string, disk: XmlElement): DataPlace[] {
  const places: DataPlace[] = [];
  for (let layer = disk.element("backingStore"); layer !== undefined; layer = layer.element("backingStore")) {
    const source = layer.element("source");
    if (source === undefined || isEncrypted(layer)) continue;
    places.push({
      kind: "disk",
      ...whereOf(source),
      protection: "plaintext",
      detail: `a layer under disk ${dev}, with what the disk held when the layer above it was made`,
    });
  }
  return places;
}

/** A merge of a snapshot has a mirror as well, which is a layer of the disk. */
function copy(dev: string, disk: XmlElement): DataPlace[] {
  const mirror = disk.element("mirror");
  if (mirror === undefined || mirror.attribute("job") === "active-commit") return [];
  const source = mirror.element("source");
  return [backupOf(dev, whereOf(source ?? mirror), isEncrypted(mirror) ? "encrypted" : "plaintext")];
}

/** What QEMU reads for a copy is what the guest reads. */
export function backupOf(
  dev: string,
  where: Pick<DataPlace, "where">,
  protection: "encrypted" | "plaintext",
): DataPlace {
  const whose = `a copy of disk ${printable(dev)} is being made`;
  if (protection === "encrypted")
    return { kind: "backup", ...where, protection, detail: `${whose}; its own encryption block encrypts it` };
  const hint = "encrypt the copy, or copy the volume of a guest that is shut off";
  return { kind: "backup", ...where, protection, detail: `${whose}, decrypted`, hint };
}

export function isEncrypted(storage: XmlElement): boolean {
  return (
    storage.element("source")?.element("encryption") !== undefined ||
    storage.element("encryption") !== undefined
  );
}

/** In libvirt's words, whatever kind of storage it is. */
export function whereOf(source: XmlElement): Pick<DataPlace, "where"> {
  for (const attribute of ["file", "dev", "dir", "path", "volume", "name"]) {
    const value = source.attribute(attribute);
    if (value === undefined) continue;
    const protocol = source.attribute("protocol");
    return { where: protocol === undefined ? value : `${protocol}:${value}` };
  }
  return {};
}
