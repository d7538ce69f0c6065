import { statSync } from "node:fs";
import { posix } from "node:path";
import type { DiskBus, DiskMapping } from "../disk-info/disk-info.js";
import type { EngineChoice } from "../encryption/encryption-providers.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { printable } from "../error/printable.js";
import type { Volume } from "../storage/volume.js";
import { parseRbdName } from "../storage/volume-name.js";

/** What can be said of a disk that is new, and of no other one. */
export interface NewDiskOptions {
  readonly format?: "raw" | "qcow2";
  readonly bus?: DiskBus;
  /** Name of a profile. */
  readonly profile?: string;
  readonly engine?: EngineChoice;
}

/** As libvirt deduces it from the device name. */
const BUS_OF_PREFIX: Readonly<Record<string, DiskBus>> = { vd: "virtio", sd: "scsi", hd: "ide", xvd: "xen" };

/**
 * The disk that the command line describes; undefined where it names no volume.
 * @throws USAGE for what is no name of a device or of a volume
 */
export function newDisk(
  dev: string,
  name: string | undefined,
  { format, bus, profile, engine }: NewDiskOptions,
): DiskMapping | undefined {
  if (name === undefined) {
    const given = Object.entries({ format, bus, profile, engine }).filter(([, value]) => value !== undefined);
    if (given.length === 0) return undefined;
    throw usage(`--${given[0]?.[0] ?? ""} is for a new disk only`, "say on which volume it lies");
  }
  const [, prefix = ""] = /^(vd|sd|hd|xvd)[a-z]{1,4}$/.exec(dev) ?? [];
  const usual = BUS_OF_PREFIX[prefix];
  if (usual === undefined) {
    throw usage(
      `"${printable(dev)}" is no device name for a new disk`,
      "for example vdb for virtio, sdb for scsi",
    );
  }
  const volume = volumeNamed(name, format);
  return { bus: bus ?? usual, dev, type: "disk", encrypted: false, volume, readOnly: false };
}

/** The image format of a file is never guessed from bytes that a guest may have written. */
function volumeNamed(name: string, format: "raw" | "qcow2" = "raw"): Volume {
  const image = parseRbdName(name);
  if (image !== undefined) {
    if (format === "raw") return image;
    throw usage("an RBD image has no image format inside", "leave --format out");
  }
  if (!isVolumePath(name)) {
    throw usage(
      `"${printable(name)}" names no volume`,
      "an absolute path without . and .., rbd:POOL/IMAGE or rbd:POOL/NAMESPACE/IMAGE",
    );
  }
  return { kind: isDevice(name) ? "block" : "file", path: name, format };
}

/** Absolute, and the only way to write it, so that nothing takes one volume for two. */
export function isVolumePath(name: string): boolean {
  return /^\/[^\p{Cc}]+$/u.test(name) && posix.normalize(name) === name && !name.endsWith("/");
}

/** A volume under /dev may not be active now. */
export function isDevice(path: string): boolean {
  return path.startsWith("/dev/") || (statSync(path, { throwIfNoEntry: false })?.isBlockDevice() ?? false);
}

function usage(what: string, hint: string): LuksmithError {
  return new LuksmithError("USAGE", { what, hint });
}
