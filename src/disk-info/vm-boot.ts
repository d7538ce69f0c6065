import { isCloudInit } from "../guest-config/proxmox/drive.js";
import type { VmOptions } from "../guest-config/proxmox/vm-config.js";
import { wordsOf } from "../host/proxmox/storage-config.js";
import type { VmDrive } from "./from-vm-config.js";

/** What Proxmox VE takes where nothing is written. */
const DEFAULT = "cdn";

/**
 * The 1-based boot index of each device, by its option: its place in `boot: order=…`, network cards included; else as
 * the letters of before mean it: `c` the disk in `bootdisk`, `d` every CD-ROM drive, `n` every network card.
 */
export function bootIndexes(config: VmOptions, drives: readonly VmDrive[]): ReadonlyMap<string, number> {
  const boot = new Map((config["boot"] ?? "").split(",").map(pair));
  const order = boot.get("order");
  const devices =
    order === undefined ? legacyOrder(boot.get("legacy") ?? DEFAULT, config, drives) : wordsOf(order);
  return new Map([...new Set(devices)].map((dev, index) => [dev, index + 1]));
}

/** `cdn` alone is the value of `legacy`. */
function pair(part: string): [name: string, value: string | undefined] {
  const equals = part.indexOf("=");
  if (equals === -1) return ["legacy", part === "" ? undefined : part];
  return [part.slice(0, equals), part.slice(equals + 1)];
}

function legacyOrder(letters: string, config: VmOptions, drives: readonly VmDrive[]): string[] {
  const isMedium = (drive: VmDrive) => drive.options.get("media") === "cdrom" && !isCloudInit(drive);
  return Array.from(letters).flatMap((letter) => {
    switch (letter) {
      case "c":
        return drives.flatMap((drive) =>
          drive.dev === config["bootdisk"] && !isMedium(drive) ? drive.dev : [],
        );
      case "d":
        return drives.filter(isMedium).map(({ dev }) => dev);
      case "n":
        return Array.from({ length: 32 }, (_, index) => `net${index}`).filter((net) =>
          Object.hasOwn(config, net),
        );
      // floppy drives, which Proxmox VE has none of
      default:
        return [];
    }
  });
}
