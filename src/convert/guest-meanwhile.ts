import { LuksmithError } from "../error/luksmith-error.js";
import type { ConfiguredGuest } from "../host/host-adapter.js";
import { guestWord } from "../plan/commands.js";
import { volumeName } from "../storage/volume.js";
import type { ConvertPlan } from "./plan-convert.js";

/** What a guest that was saved has in its memory may be newer than what is on its disks. */
export function requireShutOff({ running, saved, ...guest }: ConfiguredGuest): void {
  if (!running && !saved) return;
  const name = guestWord(guest);
  throw new LuksmithError("GUEST_RUNNING", {
    what: `cannot convert a disk of guest ${guest.name}: it ${running ? "is running" : "was saved while it was running"}`,
    why: running
      ? "what it writes meanwhile would be lost"
      : "it would resume with the old volume, and what it has in memory is not on it yet",
    hint: running
      ? `shut it down first: virsh shutdown ${name}`
      : `start it and shut it down first: virsh start ${name}`,
  });
}

/** The disk is what was copied; anything else of the guest may have changed. @throws GUEST_CHANGED */
export function requireSource(guest: ConfiguredGuest, { disk: dev, source, target }: ConvertPlan): void {
  const now = guest.disks.mapping[dev];
  const { mapping, volume } = source.annotation;
  const isSame =
    now?.encryption_format === source.annotation.format &&
    now.encryption_secret_uuid === source.uuid &&
    now.mapping === mapping &&
    volumeName(now.volume) === volumeName(volume);
  if (isSame) return;
  throw new LuksmithError("GUEST_CHANGED", {
    what: `cannot give disk ${dev} of guest ${guest.name} its new volume: somebody changed the disk meanwhile`,
    why: `it is not mapping ${mapping} over ${volume.path} any more, which was copied to ${target.volume.path}`,
    hint: "put the disk back and run it again, or remove the new volume and its key",
  });
}
