import type { CommandRunner } from "../../exec/command-runner.js";
import { askLvm } from "./lvm-command.js";
import { fullName, type LvName } from "./lvm-name.js";
import { reportLvAt } from "./lvm-report.js";
import { cryptSector, payloadSize, roundUp } from "../sectors.js";
import type { GrowRequest } from "../storage-backend.js";
import { refuseShrinking, volumeNotGrown } from "../volume-error.js";
import type { VolumeLocks } from "../volume-lock.js";

/**
 * `StorageBackend.grow` for a logical volume, active or not, in use or not. LVM rounds up to extents, so that a guest
 * may see up to one of them more than was asked for.
 */
export async function growLv(
  path: string,
  lv: LvName,
  { header, guestSize }: Pick<GrowRequest, "header" | "guestSize">,
  { runner, locks }: { readonly runner: CommandRunner; readonly locks: VolumeLocks },
): Promise<bigint> {
  const wanted = roundUp(guestSize, cryptSector(header)) + BigInt(header.payloadOffset);
  return await locks.hold(`size of logical volume ${fullName(lv)}`, async () => {
    const { size, extent, role } = await reportLvAt(runner, path, lv);
    if (role.has("thicksnapshot"))
      throw volumeNotGrown(
        path,
        "it is a snapshot, as large as its origin",
        "enlarge its origin, and snapshot it anew",
      );
    const seen = payloadSize(size, header);
    if (seen - guestSize >= extent) refuseShrinking(path, seen, guestSize);
    if (seen >= guestSize) return seen;
    const answer = await askLvm(runner, "lvextend", ["--size", `${wanted}b`, "--", fullName(lv)]);
    if (answer.kind === "failed") throw volumeNotGrown(path, answer.reason);
    return payloadSize((await reportLvAt(runner, path, lv)).size, header);
  });
}
