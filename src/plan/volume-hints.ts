import { shellWord } from "../error/shell-word.js";
import { type Volume, volumeName } from "../storage/volume.js";

/** What makes a volume that is not there yet, for a hint. */
export function creationHint(volume: Volume): string {
  const name = shellWord(volumeName(volume));
  switch (volume.kind) {
    case "file":
      if (volume.format === "other") return "create it first";
      return `create it first, for example: luksmith allocate --backend ${volume.format} ${name} 20G`;
    case "rbd":
      return `create it first, for example: luksmith allocate --backend rbd ${name} 20G`;
    case "block":
    case "none":
    case "other":
      return "check that its storage is attached and active, or create it there first";
  }
}

/** What enlarges a volume that is not encrypted, while no guest has it open, for a hint. */
export function enlargingHint(volume: Volume): string {
  if (volume.kind !== "file") return "enlarge it where it was made";
  return `enlarge its file: qemu-img resize -f ${volume.format} ${shellWord(volume.path)} +10G`;
}
