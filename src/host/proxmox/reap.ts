import type { CommandRunner } from "../../exec/command-runner.js";
import type { Reaped } from "../../reap/reaper.js";
import { LuksmithError } from "../../error/luksmith-error.js";
import { VolumeLocks } from "../../storage/volume-lock.js";
import { closeIdleExports, type ExportState, listExports } from "./export/idle-exports.js";
import { ProxmoxSecrets } from "./host-secrets.js";
import type { ProxmoxPlaces } from "./places.js";
import { isRunning } from "./running.js";
import { filesIn, withdrawSecrets } from "./secrets.js";
import type { Start } from "./starts.js";

/** Milliseconds that an export lies unused before it is ended: whoever asked for it may be about to open it. */
const UNUSED = 600_000;

/**
 * What else Proxmox VE leaves than guests that do not run: host secrets of guests that run, whose start was killed before
 * it took them away, and exports that nobody ends.
 */
export async function reapProxmox(
  manner: "apply" | "dry-run",
  places: ProxmoxPlaces,
  runner: CommandRunner,
): Promise<Reaped[]> {
  const starts = new ProxmoxSecrets(places, undefined).litter((vmid) => isRunning(vmid, places));
  const secrets = starts.flatMap((start) => reapStart(manner, start));
  const exports =
    manner === "dry-run"
      ? listExports(places).filter(isUnused)
      : await closeIdleExports(UNUSED, { runner, places, locks: new VolumeLocks(runner) });
  const outcome = manner === "dry-run" ? "found" : "cleaned";
  return [...secrets, ...exports.map(({ label: name }): Reaped => ({ kind: "export", name, outcome }))];
}

function reapStart(manner: "apply" | "dry-run", start: Start): Reaped[] {
  const guest = { id: start.vmid };
  const of = (disk: string) => ({ kind: "host-secret", name: `${start.path}/${disk}`, guest, disk }) as const;
  const disks = filesIn(start);
  if (manner === "dry-run") return disks.map((disk) => ({ ...of(disk), outcome: "found" }));
  try {
    withdrawSecrets(start);
    return disks.map((disk) => ({ ...of(disk), outcome: "cleaned" }));
  } catch (thrown) {
    if (!(thrown instanceof LuksmithError)) throw thrown;
    const why = thrown.why ?? thrown.message;
    return disks.map((disk) => ({ ...of(disk), outcome: "left", why }));
  }
}

function isUnused({ state, since }: ExportState): boolean {
  return state === "dead" || (state === "idle" && Date.now() - since.getTime() >= UNUSED);
}
