import type { DiskMapping } from "../disk-info/disk-info.js";
import { visible } from "../error/printable.js";
import { shellWord } from "../error/shell-word.js";
import type { Guest } from "../host/host-adapter.js";
import { parseKeyUuid } from "../keystore/key-uuid.js";
import { novasVolumeName } from "../request/novas-mapping.js";
import { type Volume, volumeName } from "../storage/volume.js";

type NamedGuest = Pick<Guest, "id" | "name">;

/** The command of a hint that protects these disks, to be pasted into a shell. */
export function protectCommand(guest: NamedGuest, disks: readonly string[]): string {
  return ["luksmith protect", guestWord(guest), ...disks.map((dev) => `--disk ${shellWord(dev)}`)].join(" ");
}

/**
 * The command that takes over a disk which names a mapping of Nova's, but for what only the administrator knows;
 * undefined for any other disk.
 */
export function adoptCommand(
  guest: NamedGuest,
  { dev, volume }: Pick<DiskMapping, "dev" | "volume">,
): string | undefined {
  const name = novasVolumeName(volume);
  if (name === undefined) return undefined;
  return `luksmith adopt ${guestWord(guest)} ${shellWord(dev)} --volume /dev/GROUP/${shellWord(name)} --key-file FILE`;
}

/** The command that gives a guest a disk: one of its configuration, or one on this volume. */
export function attachCommand(guest: NamedGuest, dev: string, volume?: Volume): string {
  const onVolume = volume === undefined ? [] : [shellWord(volumeName(volume)), ...formatOption(volume)];
  return ["luksmith attach", guestWord(guest), shellWord(dev), ...onVolume].join(" ");
}

/** An image format is never guessed from what a guest may have written. */
function formatOption(volume: Volume): string[] {
  return "format" in volume && volume.format !== "raw" ? [`--format ${volume.format}`] : [];
}

/**
 * The guest in a command: by its id where its name cannot be pasted, or looks like an option, a number or another
 * guest's id.
 */
export function guestWord({ id, name }: NamedGuest): string {
  const ambiguous = name.startsWith("-") || /^[0-9]+$/.test(name) || parseKeyUuid(name) !== undefined;
  return shellWord(ambiguous || visible(name) !== name ? id : name);
}
