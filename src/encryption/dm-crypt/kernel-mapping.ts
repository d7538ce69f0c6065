import { readdirSync, readFileSync, statSync } from "node:fs";
import { ifThere } from "../../fs/if-there.js";
import { deviceNumber, type VolumeFile } from "../../storage/volume-file.js";
import type { KeptClaim } from "./mapping-claims.js";

/** A device of device-mapper, as sysfs shows it: nothing here starts a process, or waits for a device. */
export interface KernelMapping {
  /** `MAJOR:MINOR` */
  readonly number: string;
  /** What made it, in cryptsetup's words: `CRYPT-LUKS1-UUID-NAME`. */
  readonly uuid: string;
}

/** cryptsetup cuts what is longer (DM_UUID_LEN less its end), and that is the end of a long name. */
const LONGEST_UUID = 128;

/** Whatever /dev/mapper shows: nodes there can be late, or left. */
export function findMapping(name: string): KernelMapping | undefined {
  for (const device of namesIn("/sys/block")) {
    if (!device.startsWith("dm-") || textIn(`/sys/block/${device}/dm/name`) !== name) continue;
    const [number, uuid] = [textIn(`/sys/block/${device}/dev`), textIn(`/sys/block/${device}/dm/uuid`)];
    if (number !== undefined && uuid !== undefined) return { number, uuid };
  }
  return undefined;
}

/**
 * Whether it is the mapping that was opened for this claim. Plain dm-crypt has no header that tells: its mapping must at
 * least be made of the claimed device, where the kernel says of which it is made.
 */
export function isOpenedFor(mapping: KernelMapping, claim: KeptClaim): boolean {
  if (!isOfKind(mapping, claim)) return false;
  return claim.format !== "plain" || claim.device === null || mayLieOn(mapping, claim.device);
}

/** Whether cryptsetup made it in the claim's format under the claim's name, and of a header with the claim's key. */
export function isOfKind(
  { uuid }: Pick<KernelMapping, "uuid">,
  { name, uuid: key, format }: KeptClaim,
): boolean {
  const id = key.replaceAll("-", "");
  const kind = { luks: `LUKS1-${id}`, luksv2: `LUKS2-${id}`, plain: "PLAIN" }[format];
  return uuid === `CRYPT-${kind}-${name}`.slice(0, LONGEST_UUID);
}

function mayLieOn({ number }: KernelMapping, device: string): boolean {
  const slaves = `/sys/dev/block/${number}/slaves`;
  return namesIn(slaves).every((name) => textIn(`${slaves}/${name}/dev`) === device);
}

/** Whether the mapping is made of this file or device, and of nothing else. */
export function liesOn({ number }: KernelMapping, { stats }: Pick<VolumeFile, "stats">): boolean {
  const slaves = `/sys/dev/block/${number}/slaves`;
  const names = namesIn(slaves);
  const isVolume = (device: string) =>
    stats.isBlockDevice() ? textIn(`${device}/dev`) === deviceNumber(stats) : isBackedBy(device, stats);
  return names.length > 0 && names.every((name) => isVolume(`${slaves}/${name}`));
}

/** A loop device on this file, by its name. */
export function loopOn({ stats }: Pick<VolumeFile, "stats">): string | undefined {
  return namesIn("/sys/block").find(
    (name) => name.startsWith("loop") && isBackedBy(`/sys/block/${name}`, stats),
  );
}

/** Whether the kernel lets nobody write to it. */
export function isReadOnly(name: string): boolean {
  const mapping = findMapping(name);
  return mapping !== undefined && textIn(`/sys/dev/block/${mapping.number}/ro`) === "1";
}

/** Devices of the kernel that are made of this one, by their names. */
export function usersOf(number: string): string[] {
  const holders = `/sys/dev/block/${number}/holders`;
  return namesIn(holders).map((holder) => textIn(`${holders}/${holder}/dm/name`) ?? holder);
}

function isBackedBy(device: string, { dev, ino }: VolumeFile["stats"]): boolean {
  const path = textIn(`${device}/loop/backing_file`);
  const backing = path === undefined ? undefined : ifThere(() => statSync(path, { bigint: true }));
  return backing?.dev === dev && backing.ino === ino;
}

function textIn(path: string): string | undefined {
  return ifThere(() => readFileSync(path, "utf8").replace(/\n$/, ""));
}

function namesIn(directory: string): string[] {
  return ifThere(() => readdirSync(directory)) ?? [];
}
