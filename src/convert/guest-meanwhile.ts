import { stat } from "node:fs/promises";
import { LuksmithError } from "../error/luksmith-error.js";
import { type ConfiguredGuest, isMappingAnnotation } from "../host/host-adapter.js";
import { guestWord } from "../plan/commands.js";
import type { GuestLocks, Watch } from "../plan/guest-locks.js";
import { type PathVolume, volumeName } from "../storage/volume.js";
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
  const annotation = source.key?.annotation;
  const mapping = annotation && isMappingAnnotation(annotation) ? annotation.mapping : undefined;
  const isSame =
    now !== undefined &&
    now.encrypted === (annotation !== undefined) &&
    now.encryption_format === annotation?.format &&
    now.encryption_secret_uuid === annotation?.secretUuid &&
    now.mapping === mapping &&
    volumeName(now.volume) === volumeName(source.volume);
  if (isSame) return;
  const was = mapping === undefined ? source.volume.path : `mapping ${mapping} over ${source.volume.path}`;
  throw new LuksmithError("GUEST_CHANGED", {
    what: `cannot give disk ${dev} of guest ${guest.name} its new volume: somebody changed the disk meanwhile`,
    why: `it is not ${was} any more, which was copied to ${target.volume.path}`,
    hint: "put the disk back and run it again, or remove the new volume and its key",
  });
}

/** It is shut off again, and may have written what was copied before. */
export function startedMeanwhile(guest: Pick<ConfiguredGuest, "name">, dev: string): LuksmithError {
  return new LuksmithError("GUEST_CHANGED", {
    what: `cannot give disk ${dev} of guest ${guest.name} its new volume: the guest was started meanwhile`,
    why: "what it has written may be missing in the copy",
    hint: "run it again, which copies all once more; the guest has its old volume",
  });
}

/** What was there when the copy began. */
export interface Counted {
  /** A start of the guest that was announced later counts. */
  readonly since: Watch;
  /** Of the source since it is locked. */
  readonly stamp: string | undefined;
}

/**
 * Since when a start of the guest would count: what is held keeps every start off, and one that is refused is announced
 * all the same.
 */
export async function lastThatCounts(
  { guest, source }: Pick<ConvertPlan, "guest" | "source">,
  guestLocks: Pick<GuestLocks, "watch">,
  { since, stamp }: Counted,
): Promise<Watch> {
  const now = await guestLocks.watch(guest);
  return (await isUntouched(source, stamp)) ? now : since;
}

/**
 * Whether nobody has written to the source since it is locked. Of a mapping that is sure, and of a file its own times
 * tell; a device may be written to by another path.
 */
export async function isUntouched(
  { volume, key }: ConvertPlan["source"],
  stamp: string | undefined,
): Promise<boolean> {
  if (key !== undefined && isMappingAnnotation(key.annotation)) return true;
  return stamp !== undefined && stamp === (await stampOf(volume));
}

/** Another one for a file that was written to, or replaced; undefined for what is no file, or is gone. */
export async function stampOf({ kind, path }: PathVolume): Promise<string | undefined> {
  if (kind !== "file") return undefined;
  const stats = await stat(path, { bigint: true }).catch(() => undefined);
  return stats && [stats.dev, stats.ino, stats.size, stats.mtimeNs].join(" ");
}
