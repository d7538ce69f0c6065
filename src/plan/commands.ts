import type { DiskMapping } from "../disk-info/disk-info.js";
import { visible } from "../error/printable.js";
import { shellWord } from "../error/shell-word.js";
import type { Guest } from "../host/host-adapter.js";
import { parseKeyUuid } from "../keystore/key-uuid.js";
import { novasVolumeName } from "../request/novas-mapping.js";
import { type Volume, volumeName } from "../storage/volume.js";

type NamedGuest = Pick<Guest, "id" | "name">;

/** A guest whose disks are protected where they are, or by being moved; `disks` tells which are on no storage. */
type ProtectedGuest = NamedGuest & Partial<Pick<Guest, "disks" | "encryptedStorages">>;

/** The command of a hint that protects these disks, to be pasted into a shell. */
export function protectCommand(guest: ProtectedGuest, disks: readonly string[]): string {
  if (guest.encryptedStorages !== undefined) return moveCommand(guest, guest.encryptedStorages, disks);
  return ["luksmith protect", guestWord(guest), ...disks.map((dev) => `--disk ${shellWord(dev)}`)].join(" ");
}

/** The command that encrypts a disk in place, or decrypts it, and that goes on with what was cut short. */
export function conversionCommand(guest: NamedGuest, dev: string, to: "encrypted" | "plain"): string {
  const command = to === "encrypted" ? "luksmith protect" : "luksmith unprotect";
  const options = to === "encrypted" ? ["--convert", "--in-place"] : ["--in-place"];
  return [command, guestWord(guest), "--disk", shellWord(dev), ...options].join(" ");
}

/** The command that gives a copy a key of its own, and that goes on with what was cut short. */
export function separationCommand(guest: NamedGuest, dev: string): string {
  return `luksmith separate ${guestWord(guest)} ${shellWord(dev)}`;
}

/** Proxmox VE encrypts a disk by moving it to storage that encrypts; a device of the host is copied to there. */
function moveCommand(
  { id, disks: info }: ProtectedGuest,
  [storage]: readonly string[],
  disks: readonly string[],
): string {
  const target = shellWord(storage ?? "STORAGE");
  const commands = disks.map((dev) => {
    const volume = info?.mapping[dev]?.volume;
    const path = volume?.kind === "file" || volume?.kind === "block" ? volume.path : undefined;
    return path === undefined
      ? `qm disk move ${shellWord(id)} ${shellWord(dev)} ${target} --delete 1`
      : `qm set ${shellWord(id)} --${shellWord(dev)} ${shellWord(`${storage ?? "STORAGE"}:0,import-from=${path}`)}`;
  });
  const move = commands.join(" && ");
  return storage === undefined
    ? `set up encrypted storage: pvesm add luksmith STORAGE --base-path DIRECTORY; then: ${move}`
    : move;
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

/**
 * How a disk names again the encrypted volume that it has, where the host manager gives it to guests by its storage.
 * @param named what the storage calls it, where that is known
 */
export function renameCommand(
  { id }: Pick<Guest, "id">,
  dev: string,
  volume: Volume,
  named: string | undefined,
): string {
  const name = (volumeName(volume).split("/").at(-1) ?? "").replace(/\.(luks|raw)$/, "");
  return `qm set ${shellWord(id)} --${shellWord(dev)} ${shellWord(named ?? `STORAGE:${name}`)}`;
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
