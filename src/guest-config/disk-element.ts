import type { DiskInfo } from "../disk-info/disk-info.js";
import { busOfName } from "../disk-info/domain-bus.js";
import { diskInfoFromDomain } from "../disk-info/from-domain-xml.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { NewDisk } from "../host/host-adapter.js";
import { type PathVolume, type RbdVolume, type Volume, volumeName } from "../storage/volume.js";
import { diskElements, diskNamed, parseDomain } from "./domain.js";
import { guestConfigInvalid } from "./guest-config-invalid.js";
import { layoutOf, trailingSpace, unitOf } from "./layout.js";
import { removeMappingEntry } from "./mapping-annotator.js";
import { quoted } from "./quoted.js";
import { applySplices } from "./splice.js";
import type { XmlElement } from "./xml-element.js";

/**
 * The domain XML with the disk after its other ones, without encryption; every other byte stays.
 * @throws DISK_EXISTS, VOLUME_UNSUPPORTED for a volume that libvirt has no words for, GUEST_CONFIG_INVALID
 */
export function addDisk(xml: string, disk: NewDisk): string {
  const domain = parseDomain(xml);
  const devices = domain.element("devices");
  if (devices?.span.content === undefined) throw guestConfigInvalid("it has no devices");
  const disks = diskElements(domain);
  refuseExisting(diskInfoFromDomain(domain), disk);
  const last = [...disks.values()].at(-1) ?? devices.children[0];
  const at = disks.size === 0 ? devices.span.content.start : (last?.span.end ?? devices.span.content.start);
  const outer = (last && layoutOf(xml, last)) ?? { newline: "\n", indent: "    " };
  const unit = unitOf(outer, layoutOf(xml, devices));
  const lines = linesOf(disk, clusterOf(xml, disks)).map((line) => outer.indent + line.replace(/^ +/, unit));
  const text = outer.newline + lines.join(outer.newline);
  return applySplices(xml, [{ start: at, end: at, text }]);
}

/** The domain XML without the disk and what the metadata say of it; unchanged where it has none. */
export function removeDisk(xml: string, dev: string): string {
  const disk = diskElements(parseDomain(xml)).get(dev);
  if (disk === undefined) return removeMappingEntry(xml, dev);
  const { start, end } = disk.span;
  const from = start - trailingSpace(xml.slice(0, start));
  return removeMappingEntry(applySplices(xml, [{ start: from, end, text: "" }]), dev);
}

/**
 * The `<disk>` as the domain XML has it; `movable` without what ties it to a place that another device of a running
 * guest can have. @throws DISK_NOT_FOUND, GUEST_CONFIG_INVALID
 */
export function diskText(xml: string, dev: string, place: "fixed" | "movable"): string {
  const disk = diskNamed(parseDomain(xml), dev);
  const left = place === "fixed" ? [] : [disk.element("address"), disk.element("boot")];
  const splices = left.flatMap((element) => (element === undefined ? [] : { ...element.span, text: "" }));
  const { start, end } = disk.span;
  const removed = splices.reduce((length, splice) => length + splice.end - splice.start, 0);
  return applySplices(xml, splices).slice(start, end - removed);
}

function refuseExisting({ mapping }: DiskInfo, { dev, volume }: NewDisk): void {
  if (Object.hasOwn(mapping, dev)) {
    throw new LuksmithError("DISK_EXISTS", {
      what: `the guest has a disk ${dev} already`,
      hint: "choose another device name",
    });
  }
  const other = Object.values(mapping).find((disk) => isSame(disk.volume, volume));
  if (other === undefined) return;
  throw new LuksmithError("DISK_EXISTS", {
    what: `the guest has ${volumeName(volume)} already`,
    why: `it is its disk ${other.dev}`,
  });
}

function isSame(one: Volume, other: Volume): boolean {
  return one.kind === other.kind && volumeName(one) === volumeName(other);
}

function linesOf({ dev, volume, bus }: NewDisk, cluster: string): string[] {
  const target = `  <target dev=${quoted(dev)} bus=${quoted(bus ?? busOfName(dev))}/>`;
  const { type, source } = sourceOf(volume, cluster);
  const format = "format" in volume ? volume.format : "raw";
  const driver = `  <driver name='qemu' type='${format}'/>`;
  return [`<disk type='${type}' device='disk'>`, driver, `  ${source}`, target, "</disk>"];
}

function sourceOf(volume: Volume, cluster: string): { readonly type: string; readonly source: string } {
  switch (volume.kind) {
    case "file":
      return { type: "file", source: `<source file=${quoted(requireFormat(volume).path)}/>` };
    case "block":
      return { type: "block", source: `<source dev=${quoted(requireFormat(volume).path)}/>` };
    case "rbd":
      return { type: "network", source: rbdSource(volume, cluster) };
    case "none":
    case "other":
      throw unsupported(volume, "it is no file, block device or RBD image");
  }
}

function requireFormat(volume: PathVolume): PathVolume {
  if (volume.format !== "other") return volume;
  throw unsupported(volume, "its image format is neither raw nor qcow2");
}

function unsupported(volume: Volume, why: string): LuksmithError {
  return new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `cannot add ${volumeName(volume)} to a guest`,
    why,
  });
}

function rbdSource({ pool, namespace, image }: RbdVolume, cluster: string): string {
  const name = [pool, namespace, image].filter((part) => part !== undefined).join("/");
  const start = `<source protocol='rbd' name=${quoted(name)}`;
  return cluster === "" ? `${start}/>` : `${start}>${cluster}</source>`;
}

/** How another disk of the guest reaches its Ceph cluster: monitors, user and secret. */
function clusterOf(xml: string, disks: ReadonlyMap<string, XmlElement>): string {
  const sources = [...disks.values()].map((disk) => disk.element("source"));
  const rbd = sources.find((source) => source?.attribute("protocol") === "rbd");
  const parts = rbd?.children.filter(({ name }) => ["host", "auth", "config"].includes(name)) ?? [];
  return parts.map(({ span }) => xml.slice(span.start, span.end)).join("");
}
