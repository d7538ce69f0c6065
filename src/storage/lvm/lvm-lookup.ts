import { LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import { blockDeviceAt, type MappedDevice, mappedDevice } from "./lvm-device.js";
import { fullName, type LvName, lvNameOf, mapperName } from "./lvm-name.js";
import { reportLv } from "./lvm-report.js";

/** What a path means to LVM. */
export type LvFinding =
  | { readonly kind: "thick" | "thin"; readonly lv: LvName }
  /** Nothing that a guest may have, and no other storage backend may touch it either. */
  | { readonly kind: "refused"; readonly reason: string };

/**
 * What `path` is to LVM; undefined if it is nothing of LVM's. Starts a process only for what looks like a logical
 * volume that is not active.
 */
export async function findLv(runner: CommandRunner, path: string): Promise<LvFinding | undefined> {
  const named = lvNameOf(path);
  const number = await blockDeviceAt(path);
  if (number === "absent") return named === undefined ? undefined : await findInactive(runner, named);
  const device = mappedDevice(number);
  if (device === undefined) return undefined;
  const finding = findingOf(device, named);
  // a link of somebody's own making, unless there is such a volume
  const isNoLv = device.lvm === undefined && named !== undefined && finding !== undefined;
  return isNoLv && (await findInactive(runner, named)) === undefined ? undefined : finding;
}

/**
 * What a device is to LVM; undefined if it is not LVM's.
 * @param named the volume that the path to it names: another one's device there is left of a volume that was removed
 */
export function findingOf({ name, lvm }: MappedDevice, named: LvName | undefined): LvFinding | undefined {
  if (named !== undefined && mapperName(named) !== name) {
    return refused(`its path leads to device ${name}, which is not logical volume ${fullName(named)}`);
  }
  return lvm?.kind === "internal" ? internal() : lvm;
}

async function findInactive(runner: CommandRunner, lv: LvName): Promise<LvFinding | undefined> {
  try {
    const report = await reportLv(runner, lv);
    if (report === undefined) return undefined;
    if (report.role.has("private")) return internal();
    return { kind: report.layout.has("thin") ? "thin" : "thick", lv };
  } catch (thrown) {
    if (thrown instanceof LuksmithError) return refused(thrown.why ?? thrown.message);
    throw thrown;
  }
}

function internal(): LvFinding {
  return refused("it is a part of LVM's own, and no volume for a guest");
}

function refused(reason: string): LvFinding {
  return { kind: "refused", reason };
}
