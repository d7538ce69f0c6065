import { type Command, InvalidArgumentError } from "commander";
import { LuksmithError } from "../error/luksmith-error.js";
import { printable } from "../error/printable.js";
import { parseBytes } from "../plan/bytes.js";
import type { PathVolume, Volume } from "../storage/volume.js";
import { isDevice, isVolumePath } from "./new-disk.js";

/** How a disk with data is converted, whatever it is to become. */
export interface ConversionOptions {
  readonly to?: string;
  readonly pool?: string;
  readonly inPlace?: true;
  readonly rate?: bigint;
  readonly json?: true;
  readonly dryRun?: true;
}

export function withConversionOptions(command: Command): Command {
  return command
    .option("--to <volume>", "absolute path of the new volume; beside the old one without it")
    .option("--pool <name>", "thin pool that a new logical volume is made from")
    .option("--in-place", "no new volume: where the old one is, while the guest is shut off")
    .option("--rate <bytes>", "bytes a second at most: 50M", parseRate)
    .option("--json", "for machines: a JSON object a line, progress as well");
}

/** `50M`, `50M/s`. */
export function parseRate(text: string): bigint {
  const bytes = parseBytes(text.replace(/\/s$/, ""));
  if (bytes !== undefined) return bytes;
  throw new InvalidArgumentError("It must be a number of bytes, or one with K, M or G (of 1024): 50M.");
}

/** The volume that a path names, in the image format that the disk has. @throws USAGE */
export function volumeAt(path: string, like: Volume): PathVolume {
  if (!isVolumePath(path)) {
    throw new LuksmithError("USAGE", {
      what: `"${printable(path)}" names no volume`,
      hint: "it must be an absolute path, without . and ..",
    });
  }
  if (isDevice(path)) return { kind: "block", path, format: "raw" };
  const format = like.kind === "file" ? like.format : "raw";
  return { kind: "file", path, format };
}
