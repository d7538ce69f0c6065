import { LuksmithError } from "../error/luksmith-error.js";
import { probeOpened } from "./probe-opened.js";
import type { Probe } from "./storage-backend.js";
import { type Volume, type VolumeFormat, volumeName } from "./volume.js";
import { VolumeFile } from "./volume-file.js";

export function isImageFile(volume: Volume, format: VolumeFormat): boolean {
  return volume.kind === "file" && volume.format === format;
}

/** The path of an image file. @throws VOLUME_UNSUPPORTED for a volume that is none of this format */
export function imagePath(volume: Volume, format: VolumeFormat): string {
  if (volume.kind === "file" && volume.format === format) return volume.path;
  throw new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `cannot use ${volumeName(volume)} as a ${format} image file`,
  });
}

export function probeFile(path: string, examine: (file: VolumeFile) => Promise<Probe>): Promise<Probe> {
  return probeOpened(() => VolumeFile.open(path, "read"), examine);
}
