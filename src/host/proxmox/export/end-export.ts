import { unlinkSync } from "node:fs";
import { errnoOf, LuksmithError } from "../../../error/luksmith-error.js";
import type { CommandRunner } from "../../../exec/command-runner.js";
import type { ExportPlace } from "./export-place.js";
import { type Mount, type MountUser, mountOn, usersOf } from "./fuse-mount.js";
import { Qmp } from "./qmp.js";
import { daemonsOf, killDaemon, within } from "./storage-daemon.js";

/** Milliseconds for what was written to reach the storage. */
const PATIENCE = 10_000;

/**
 * Ends the export, whatever is left of it; its caller holds its lock. What was written is on the storage by then, if
 * the daemon was there to write it. One that is dead has no users whose data could be saved.
 * @throws VOLUME_BUSY if a process has the file open, or the storage hangs
 */
export async function endExport(
  place: ExportPlace,
  { runner }: { readonly runner: CommandRunner },
  when: "unless it is used" | "whoever uses it",
): Promise<void> {
  if (daemonsOf(place).length > 0) {
    if (when === "unless it is used") refuseUsers(place);
    await quit(place);
    await killDaemon(place);
  }
  // for each that was mounted over another one's remains
  while (mountOn(place.image) !== undefined) await unmount(runner, place.image);
  removeFiles(place);
}

function refuseUsers(place: ExportPlace): void {
  const user = userOf(place);
  if (user === undefined) return;
  throw new LuksmithError("VOLUME_BUSY", {
    what: `cannot end the export of volume ${place.label}`,
    why: user.pid === 0 ? `${user.command} lies on it` : `${user.command} (process ${user.pid}) has it open`,
    hint: "wait until it has finished, or stop it",
  });
}

/** One that has it open, if there is any. */
export function userOf(place: ExportPlace): MountUser | undefined {
  const mount = exportedMount(place);
  return mount && usersOf([mount]).get(mount)?.[0];
}

/** Where the volume is to be seen: for this process, or at least for its daemon, which may have other mounts. */
export function exportedMount(place: ExportPlace, daemons = daemonsOf(place)): Mount | undefined {
  const views = ["self", ...daemons.map(({ pid }) => String(pid))];
  const mounts = views.map((pid) => mountOn(place.image, pid));
  return mounts.find((mount) => mount?.type.startsWith("fuse") === true);
}

async function quit(place: ExportPlace): Promise<void> {
  try {
    using qmp = await Qmp.open(place.socket);
    await qmp.execute("quit");
  } catch (thrown) {
    // one that does not listen is killed, which it survives as little
    if (!(thrown instanceof LuksmithError)) throw thrown;
    return;
  }
  await within(PATIENCE, () => daemonsOf(place).length === 0);
}

/** @throws TOOL_FAILED */
async function unmount(runner: CommandRunner, path: string): Promise<void> {
  // lazily: who has it open keeps what answers only errors
  await runner.run({ tool: "umount", args: ["--lazy", "--", path] });
}

/** What tells of the export is the last, for whoever goes on with this. */
function removeFiles({ mountpoint, pidLink, pidFile, socket }: ExportPlace): void {
  for (const path of [socket, pidFile, pidLink, mountpoint]) {
    try {
      unlinkSync(path);
    } catch (thrown) {
      // gone already, or never there
      if (errnoOf(thrown) !== "ENOENT") throw thrown;
    }
  }
}
