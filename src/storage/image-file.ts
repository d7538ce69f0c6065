import { LuksmithError } from "../error/luksmith-error.js";
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

/** Opens the file for `examine` and turns errors that speak about the volume into the probe's answers. */
export async function probeFile(path: string, examine: (file: VolumeFile) => Promise<Probe>): Promise<Probe> {
  try {
    await using file = await VolumeFile.open(path, "read");
    return await examine(file);
  } catch (thrown) {
    if (!(thrown instanceof LuksmithError)) throw thrown;
    if (thrown.code === "VOLUME_NOT_FOUND") return { kind: "absent" };
    if (!ABOUT_THE_VOLUME.has(thrown.code)) throw thrown;
    return { kind: "unreadable", reason: thrown.why ?? thrown.message };
  }
}

/** A tool that fails or hangs while it reads a volume does so over the volume. */
const ABOUT_THE_VOLUME: ReadonlySet<string> = new Set(["VOLUME_UNREADABLE", "TOOL_FAILED", "TOOL_TIMEOUT"]);
