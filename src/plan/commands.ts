import { visible } from "../error/printable.js";
import { shellWord } from "../error/shell-word.js";
import type { Guest } from "../host/host-adapter.js";
import { parseKeyUuid } from "../keystore/key-uuid.js";

type NamedGuest = Pick<Guest, "id" | "name">;

/** The command of a hint that protects these disks, to be pasted into a shell. */
export function protectCommand(guest: NamedGuest, disks: readonly string[]): string {
  return ["luksmith protect", guestWord(guest), ...disks.map((dev) => `--disk ${shellWord(dev)}`)].join(" ");
}

/**
 * The guest in a command: by its id where its name cannot be pasted, or looks like an option, a number or another
 * guest's id.
 */
export function guestWord({ id, name }: NamedGuest): string {
  const ambiguous = name.startsWith("-") || /^[0-9]+$/.test(name) || parseKeyUuid(name) !== undefined;
  return shellWord(ambiguous || visible(name) !== name ? id : name);
}
