import { LuksmithError } from "../error/luksmith-error.js";
import type { VolumeUser } from "../plan/volume-users.js";

export interface UsedTarget {
  /** Who has the volume, or opens something with its key; undefined where nobody does. */
  readonly user: VolumeUser | undefined;
  readonly path: string;
  /** UUID of the target's key, where it has one. */
  readonly key: string | undefined;
}

/** @param cannot what cannot be done into it: `cannot convert disk vda of guest web1` @throws VOLUME_BUSY, KEY_IN_USE */
export function refuseTargetUser(cannot: string, { user, path, key = "" }: UsedTarget): void {
  if (user === undefined) return;
  const what = `${cannot} into ${path}: disk ${user.disk} of guest ${user.guest} has`;
  const hint = "say a new name with --to, or take that disk out of its guest's configuration first";
  switch (user.by) {
    case "volume":
      throw new LuksmithError("VOLUME_BUSY", { what: `${what} it`, hint });
    case "key":
      throw new LuksmithError("KEY_IN_USE", { what: `${what} its key ${key}`, hint });
  }
}
