import { printable } from "../error/printable.js";
import type { MappingEntry } from "../guest-config/mapping-metadata.js";
import type { XmlElement } from "../guest-config/xml-element.js";
import type { RbdVolume, Volume, VolumeFormat } from "../storage/volume.js";

/**
 * Where a `<disk>` keeps its bytes. Nothing is opened. Only what a storage backend may encrypt becomes a `file` or a
 * `block` volume.
 */
export function volumeOfDisk(dev: string, disk: XmlElement): Volume {
  const source = disk.element("source");
  const type = disk.attribute("type") ?? "file";
  switch (type) {
    case "file":
      return localVolume("file", dev, disk, source?.attribute("file"));
    case "block":
      return localVolume("block", dev, disk, source?.attribute("dev"));
    case "network": {
      const description = printable(describe(type, source));
      const obstacle = obstacleOf(disk);
      if (obstacle !== undefined) return { kind: "other", description: `${obstacle} ${description}` };
      return rbdVolume(disk, source) ?? { kind: "other", description };
    }
    default: {
      const description = printable(describe(type, source));
      if (!WITHOUT_PATH.has(type)) return { kind: "other", description, pathUnknown: true };
      const path = source?.attribute("dir");
      return { kind: "other", description, ...(path === undefined ? {} : { path }) };
    }
  }
}

/**
 * What a mapping that the disk names is over, as the guest's metadata say. dm-crypt decrypts bytes: an image format
 * inside would be in what the mapping shows, and nobody makes such a disk.
 */
export function volumeUnderMapping(disk: XmlElement, { type, volume: path }: MappingEntry): Volume {
  const image = formatOf(disk) === "raw" ? undefined : "image file in the mapping over";
  const obstacle = oddityOf(path) ?? obstacleOf(disk) ?? image;
  if (obstacle === undefined) return { kind: type, path, format: "raw" };
  return { kind: "other", description: printable(`${obstacle} ${path}`), path };
}

/** Types of disks that lie in no file or block device of this host, or in a directory that they name. */
const WITHOUT_PATH = new Set(["dir", "nvme", "vhostuser", "vhostvdpa"]);

/** Without a path the drive is empty, also if it has a `<source>` with a startup policy. */
function localVolume(
  kind: "file" | "block",
  dev: string,
  disk: XmlElement,
  path: string | undefined,
): Volume {
  if (path === undefined) return { kind: "none" };
  const obstacle = oddityOf(path) ?? obstacleOf(disk);
  if (obstacle !== undefined) {
    const description = printable(`${obstacle} ${path}`);
    return { kind: "other", description, ...(isFileDescriptor(disk) ? { pathUnknown: true } : { path }) };
  }
  return { kind, path, format: formatOf(disk) };
}

/**
 * An RBD image, or undefined for another protocol and for what no storage backend should be given: a snapshot, an odd
 * name. libvirt knows namespaces, `pool/namespace/image`, since 11.6.0.
 */
function rbdVolume(disk: XmlElement, source: XmlElement | undefined): RbdVolume | undefined {
  if (source?.attribute("protocol") !== "rbd" || source.element("snapshot") !== undefined) return undefined;
  const parts = source.attribute("name")?.split("/") ?? [];
  if (!parts.every(isRbdName)) return undefined;
  const [pool, namespace, image] = parts.length === 3 ? parts : [parts[0], undefined, parts[1]];
  if (pool === undefined || image === undefined || parts.length > 3) return undefined;
  const user = source.element("auth")?.attribute("username");
  const conf = source.element("config")?.attribute("file");
  const monitors = source.elements("host").flatMap((host) => monitorOf(host) ?? []);
  return {
    kind: "rbd",
    pool,
    ...(namespace === undefined ? {} : { namespace }),
    image,
    format: formatOf(disk),
    ...(user === undefined ? {} : { user }),
    ...(conf === undefined ? {} : { conf }),
    ...(monitors.length === 0 ? {} : { monitors }),
  };
}

/** Ceph itself allows anything but what separates names; an option's name must not be taken for one. */
function isRbdName(name: string): boolean {
  return name !== "" && !/[@%\p{Cc}]/u.test(name);
}

function monitorOf(host: XmlElement): string | undefined {
  const name = host.attribute("name");
  if (name === undefined) return undefined;
  const port = host.attribute("port");
  const address = name.includes(":") ? `[${name}]` : name;
  return port === undefined ? address : `${address}:${port}`;
}

/** A path that no storage backend should be given: the guest may start with it, if nobody asks for encryption. */
function oddityOf(path: string): string | undefined {
  if (!path.startsWith("/") || path.length === 1) return "no absolute path:";
  return /\p{Cc}/u.test(path) ? "path with control characters" : undefined;
}

/** Why nothing that is done to the file or device would encrypt what the guest writes; undefined if nothing does. */
function obstacleOf(disk: XmlElement): string | undefined {
  // libvirt puts a plain qcow2 overlay on it, also over an encrypted volume, and the guest writes there
  if (disk.element("transient") !== undefined) return "transient disk";
  // SCSI commands pass by QEMU's block layer; libvirt refuses an encryption block
  if (disk.attribute("device") === "lun") return "SCSI LUN";
  const source = disk.element("source");
  // the guest has a part of the file; a LUKS header would stand at the start of the whole
  if (source?.element("slices") !== undefined) return "slice of";
  if (isFileDescriptor(disk)) return "file descriptor named";
  return undefined;
}

/** QEMU is handed the open file, and the path may be anything. */
function isFileDescriptor(disk: XmlElement): boolean {
  return disk.element("source")?.attribute("fdgroup") !== undefined;
}

/** libvirt takes a disk without a driver type for raw: it never probes. */
function formatOf(disk: XmlElement): VolumeFormat {
  const type = disk.element("driver")?.attribute("type") ?? "raw";
  return type === "raw" || type === "qcow2" ? type : "other";
}

/** A source without a path on this host, in words. */
function describe(type: string, source: XmlElement | undefined): string {
  const attribute = (name: string) => source?.attribute(name) ?? "?";
  switch (type) {
    case "network":
      return `network disk ${attribute("protocol")}/${attribute("name")}`;
    case "volume":
      return `storage volume ${attribute("pool")}/${attribute("volume")}`;
    case "dir":
      return `directory ${attribute("dir")}`;
    case "nvme":
      return `NVMe namespace ${attribute("namespace")}`;
    case "vhostuser":
      return `vhost-user disk ${attribute("path")}`;
    case "vhostvdpa":
      return `vhost-vdpa disk ${attribute("dev")}`;
    default:
      return `disk of type ${type}`;
  }
}
