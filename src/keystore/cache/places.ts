import { existsSync } from "node:fs";
import { errnoOf } from "../../error/luksmith-error.js";
import { isInMemory } from "../../fs/memory-file-system.js";
import type { Medium } from "./policy.js";

/** Where copies of keys may be kept. */
export interface CachePlace {
  readonly medium: Medium;
  readonly path: string;
  /** The file system that it is made on; for `memory` this must be one. */
  readonly base: string;
}

/** Of two for one medium, the first that is usable is used. /dev/shm is everybody's: nothing of ours is below another's. */
export const CACHE_PLACES: readonly CachePlace[] = [
  { medium: "sealed", path: "/var/lib/luksmith/cache", base: "/" },
  { medium: "memory", path: "/run/luksmith/cache", base: "/run" },
  { medium: "memory", path: "/dev/shm/luksmith-cache", base: "/dev/shm" },
];

export function isThereAny(places: readonly CachePlace[]): boolean {
  return places.some(({ path }) => existsSync(path));
}

/** Whether new copies may be kept there. */
export function isUsable({ medium, base }: CachePlace): boolean {
  if (medium !== "memory") return true;
  try {
    return isInMemory(base);
  } catch (thrown) {
    if (errnoOf(thrown) === undefined) throw thrown;
    return false;
  }
}
