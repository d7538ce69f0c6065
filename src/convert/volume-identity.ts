import { readFileSync } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { CommandRunner } from "../exec/command-runner.js";
import { ifThere } from "../fs/if-there.js";
import { findLv } from "../storage/lvm/lvm-lookup.js";
import { reportLv } from "../storage/lvm/lvm-report.js";
import type { PathVolume } from "../storage/volume.js";
import { deviceNumber } from "../storage/volume-file.js";

/** Where the kernel tells what a device is. */
interface KernelPlaces {
  /** `MAJOR:MINOR` of every block device is in it. */
  readonly devices: string;
  readonly bootId: string;
}

const PLACES: KernelPlaces = { devices: "/sys/dev/block", bootId: "/proc/sys/kernel/random/boot_id" };

/** What a device has from itself, or from whoever made it, the surest first. */
const OWN = ["dm/uuid", "md/uuid", "wwid", "device/wwid", "serial", "device/cid"];

/** In an identity that only the number of a device gives. */
const UNTIL_RESTART = " until restart ";

/**
 * What tells a volume from another one that gets its name later: LVM's UUID, a file's inode with its birth, or what a
 * device has of its own. A device that has nothing is known until the host restarts. Undefined for what is not there.
 */
export async function identityOf(volume: PathVolume, runner: CommandRunner): Promise<string | undefined> {
  if (volume.kind === "file") return await identityAt(volume.path);
  const found = await findLv(runner, volume.path);
  if (found?.kind === "refused") return undefined;
  if (found === undefined) return await identityAt(volume.path);
  const report = await reportLv(runner, found.lv);
  return report === undefined ? undefined : `lv ${report.uuid}`;
}

/** The same of what is there under a path, without a process: a logical volume that is not active is not there. */
export async function identityAt(path: string): Promise<string | undefined> {
  const stats = await stat(path, { bigint: true }).catch(() => undefined);
  if (stats?.isFile() === true) return `inode ${stats.ino} of ${stats.birthtimeNs}`;
  return stats?.isBlockDevice() === true ? await deviceIdentity(deviceNumber(stats)) : undefined;
}

/** Whether it still means the same volume when the host was started again. */
export function outlivesRestart(identity: string): boolean {
  return !identity.includes(UNTIL_RESTART);
}

/** @param number `MAJOR:MINOR`; undefined for a device that is gone */
export async function deviceIdentity(number: string, places = PLACES): Promise<string | undefined> {
  const device = join(places.devices, number);
  const size = textOf(join(device, "size"));
  if (size === undefined) return undefined;
  const lv = lvUuidOf(textOf(join(device, "dm/uuid")));
  if (lv !== undefined) return `lv ${lv}`;
  // what tells a disk says nothing of which of its partitions it is
  const partition = textOf(join(device, "partition"));
  const disk = partition === undefined ? device : dirname(await realpath(device));
  const start = textOf(join(device, "start")) ?? "0";
  const part = partition === undefined ? "" : ` partition ${partition} at ${start}`;
  for (const name of OWN) {
    const text = textOf(join(disk, name));
    if (text !== undefined) return `device ${name} ${text}${part} size ${size}`;
  }
  // every disk that gets a number gets another one of these, until the host restarts
  const sequence = textOf(join(disk, "diskseq")) ?? "none";
  const boot = textOf(places.bootId) ?? "unknown";
  return `device ${number} disk ${sequence}${part} size ${size}${UNTIL_RESTART}${boot}`;
}

/** As LVM's commands print it; undefined for what is no logical volume. */
function lvUuidOf(uuid: string | undefined): string | undefined {
  const [, id] = /^LVM-[a-zA-Z0-9]{32}([a-zA-Z0-9]{32})$/.exec(uuid ?? "") ?? [];
  return id?.replace(/^(.{6})(.{4})(.{4})(.{4})(.{4})(.{4})(.{6})$/, "$1-$2-$3-$4-$5-$6-$7");
}

/** Undefined for an attribute that is not there, cannot be read, or is empty. */
function textOf(path: string): string | undefined {
  const text = ifThere(() => readFileSync(path, "utf8").trim());
  return text === "" ? undefined : text;
}
