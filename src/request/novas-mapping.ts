import type { Volume } from "../storage/volume.js";

/** The logical volume's own name, where a disk names the mapping that Nova makes of one; undefined for any other. */
export function novasVolumeName(volume: Volume): string | undefined {
  if (volume.kind !== "block") return undefined;
  return /^\/dev\/mapper\/([^/]+)-dmcrypt$/.exec(volume.path)?.[1];
}
