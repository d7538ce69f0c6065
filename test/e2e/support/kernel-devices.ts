import { lstatSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** A device of device-mapper. */
interface KernelMapping {
  readonly name: string;
  /** Empty where its maker gave it none. */
  readonly uuid: string;
  /** Names of the devices that it is made of: `loop0`. */
  readonly lies: readonly string[];
}

const DEVICES = "/sys/block";
const NODES = "/dev/mapper";

/** All of this kernel, and nodes in /dev/mapper that stand for none: containers of one kernel share them. */
export function kernelMappings(): KernelMapping[] {
  const devices = entriesOf(DEVICES).filter((name) => name.startsWith("dm-"));
  const mappings = devices.map((device) => ({
    name: textIn(join(DEVICES, device, "dm/name")),
    uuid: textIn(join(DEVICES, device, "dm/uuid")),
    lies: entriesOf(join(DEVICES, device, "slaves")),
  }));
  const known = new Set(["control", ...mappings.map(({ name }) => name)]);
  const nodes = entriesOf(NODES).filter((name) => !known.has(name));
  return [...mappings, ...nodes.map((name) => ({ name, uuid: "", lies: [] }))];
}

interface Loop {
  /** `loop0` */
  readonly name: string;
  /** As whoever looks sees it, with ` (deleted)` where it is gone. */
  readonly file: string;
}

export function loopDevices(): Loop[] {
  const devices = entriesOf(DEVICES).filter((name) => name.startsWith("loop"));
  return devices
    .map((name) => ({ name, file: textIn(join(DEVICES, name, "loop/backing_file")) }))
    .filter(({ file }) => file !== "");
}

function entriesOf(directory: string): string[] {
  return lstatSync(directory, { throwIfNoEntry: false }) ? readdirSync(directory).sort() : [];
}

/** Empty for a device that goes while we look. */
function textIn(path: string): string {
  try {
    return readFileSync(path, "utf8").trimEnd();
  } catch {
    return "";
  }
}
