import { asLuksmithError } from "../error/luksmith-error.js";
import type { DiskMirror } from "../host/disk-mirror.js";
import type { GuestLocks } from "../plan/guest-locks.js";
import type { Reaped } from "./reaper.js";

interface PausedGuestsResources {
  readonly mirror: Pick<DiskMirror, "pausedGuests" | "wake">;
  readonly locks: Pick<GuestLocks, "hold">;
}

/**
 * Lets guests run again that a conversion has paused for the moment in which it gives them their new volume, and that was
 * killed in it. Whoever still converts holds the guest's lock, and wakes it himself. The copy itself is left as it is: the
 * next call goes on with it. Nobody else's pause is ended. @throws HOST_UNAVAILABLE
 */
export async function wakePausedGuests(
  manner: "apply" | "dry-run",
  { mirror, locks }: PausedGuestsResources,
): Promise<Reaped[]> {
  const reaped: Reaped[] = [];
  for (const guest of await mirror.pausedGuests()) {
    const about = { kind: "paused-guest", name: guest.id, guest } as const;
    if (manner === "dry-run") {
      reaped.push({ ...about, outcome: "found" });
      continue;
    }
    try {
      if ((await locks.hold(guest, () => mirror.wake(guest))) === "woken")
        reaped.push({ ...about, outcome: "cleaned" });
    } catch (thrown) {
      const { code, message, why } = asLuksmithError(thrown);
      if (code !== "LOCK_TIMEOUT") reaped.push({ ...about, outcome: "left", why: why ?? message });
    }
  }
  return reaped;
}
