import type { CommandRunner } from "../../exec/command-runner.js";
import { reachedByOthers } from "../block/reached-by-others.js";
import type { Volume } from "../volume.js";
import { blockDeviceAt } from "./lvm-device.js";
import { reportGroup } from "./lvm-group.js";
import { findLv } from "./lvm-lookup.js";

/**
 * Why a guest of another host may have the volume open, of which nothing here would tell: no lock keeps other hosts off
 * a block device. Undefined for one of this host alone, as far as the kernel and LVM can tell, and for files and Ceph
 * images: they have QEMU's lock, where the storage has locks between hosts.
 */
export async function whyOnOtherHosts(volume: Volume, runner: CommandRunner): Promise<string | undefined> {
  if (volume.kind !== "block") return undefined;
  const { path } = volume;
  const found = await findLv(runner, path);
  if (found !== undefined && found.kind !== "refused") {
    const { group } = found.lv;
    const { isShared, hasOwner } = await reportGroup(runner, found.lv);
    if (isShared) return `volume group ${group} is shared: its guest may run on another host`;
    if (hasOwner) return undefined;
  }
  const how = reachedByOthers(await blockDeviceAt(path));
  if (how === undefined) return undefined;
  const why = `it is on storage that other hosts may reach (${how}), where the guest may run`;
  if (found === undefined) return why;
  return `${why}, and its volume group has no system ID, which would keep them off (lvmsystemid(7))`;
}
