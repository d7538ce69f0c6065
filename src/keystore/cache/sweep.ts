import type { KeyUuid } from "../key-uuid.js";
import type { CacheDirectory } from "./cache-directory.js";
import { type Instant, secondsBetween } from "./instant.js";
import type { CachePolicy } from "./policy.js";

/** Seconds for which a directory that was looked through is taken for tidy. */
const INTERVAL = 3600;

/**
 * Removes every copy that must not be used any more; the UUIDs of damaged ones. Hooks come here at every event, so that
 * all copies are read only when the settings have changed since they last were, and once an hour.
 */
export function sweep(directory: CacheDirectory, policy: CachePolicy, now: Instant): KeyUuid[] {
  if (!directory.exists() || isTidy(directory.readStamp(), policy, now)) return [];
  if (directory.isProtectedOtherwise()) {
    directory.removeAll();
    return [];
  }
  const damaged: KeyUuid[] = [];
  let left = 0;
  for (const uuid of directory.uuids()) {
    const copy = directory.read(uuid);
    if (copy === "damaged") damaged.push(uuid);
    else if (copy !== undefined && policy.judge(copy, directory.medium, now) === "usable") {
      left += 1;
      continue;
    }
    directory.remove(uuid);
  }
  // with the key that nothing is sealed under any more
  if (left === 0 && !policy.uses(directory.medium)) directory.removeAll();
  else {
    directory.removeLeftovers();
    directory.writeStamp(stampOf(policy, now));
  }
  return damaged;
}

/** What the stamp says decides about nothing but when to look again. */
function isTidy(stamp: string | undefined, policy: CachePolicy, now: Instant): boolean {
  const [digest, at = "", boot = "", uptime] = stamp?.trimEnd().split(" ") ?? [];
  if (digest !== policy.digest()) return false;
  const seconds = secondsBetween({ at: new Date(at), boot, uptime: Number(uptime) }, now);
  return seconds < INTERVAL;
}

function stampOf(policy: CachePolicy, { at, boot, uptime }: Instant): string {
  return `${policy.digest()} ${at.toISOString()} ${boot} ${uptime}\n`;
}
