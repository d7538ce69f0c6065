import type { DiskMirror } from "../../host/disk-mirror.js";
import type { Guest, HostAdapter } from "../../host/host-adapter.js";
import { volumeName } from "../../storage/volume.js";
import type { OnlinePlan } from "./plan-online.js";

/** Which volume a guest has, and its next start would take; `unknown` also where these are not the same. */
export type WhichVolume = "old" | "new" | "unknown";

/**
 * Looks at the running guest first, and at its configuration after that: a guest that has stopped gets no other volume
 * any more, so what its configuration says then stays true. Nothing that could not be read proves anything.
 * @returns `old` only if no copy goes on that could still be given to the guest
 */
export async function whichVolume(
  { guest, disk, facts, mirror: { volume } }: OnlinePlan,
  { mirror, host }: { readonly mirror: DiskMirror; readonly host: HostAdapter },
): Promise<WhichVolume> {
  const state = await mirror.look(guest, disk).catch(() => undefined);
  const configured = await host.readGuest(guest.id).catch(() => undefined);
  if (state === undefined || configured === undefined) return "unknown";
  const seen = state.kind === "stopped" ? [configured] : [state.live, configured];
  const names = new Set(seen.map((one) => nameIn(one, disk)));
  const [name, ...others] = names;
  if (name === undefined || others.length > 0) return "unknown";
  if (name === volumeName(volume)) return "new";
  const isOver = state.kind === "none" || state.kind === "stopped";
  const old = facts.live && volumeName(facts.live.volume);
  return isOver && name === old ? "old" : "unknown";
}

function nameIn({ disks }: Pick<Guest, "disks">, disk: string): string | undefined {
  const found = disks.mapping[disk];
  return found && volumeName(found.volume);
}
