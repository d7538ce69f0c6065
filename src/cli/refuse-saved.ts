import { LuksmithError } from "../error/luksmith-error.js";
import type { ConfiguredGuest } from "../host/host-adapter.js";
import { guestWord } from "../plan/commands.js";

/**
 * Its next start brings back its memory, with the disks that it had.
 * @param task what cannot be done: `attach a disk to it`
 * @param resumed how it would resume all the same: `without the disk`
 */
export function refuseSaved(guest: ConfiguredGuest, task: string, resumed: string): void {
  if (!guest.saved) return;
  throw new LuksmithError("GUEST_RUNNING", {
    what: `guest ${guest.name} was saved while it was running: cannot ${task}`,
    why: `it would resume ${resumed}`,
    hint: `start it first: virsh start ${guestWord(guest)}`,
  });
}
