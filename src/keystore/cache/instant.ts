import { readFileSync } from "node:fs";
import { uptime } from "node:os";

/** A moment by two clocks: one that goes on when the host is off, and one that nobody can set. */
export interface Instant {
  readonly at: Date;
  /** The kernel's id of the boot; a new one at each start of the host. */
  readonly boot: string;
  /** Seconds since that boot, the time in suspension among them. */
  readonly uptime: number;
}

export function systemInstant(): Instant {
  return { at: new Date(), boot: readFileSync(BOOT_ID, "utf8").trim(), uptime: uptime() };
}

const BOOT_ID = "/proc/sys/kernel/random/boot_id";

/**
 * Seconds from `then` to `now`, by the clock that says more. Within one boot a clock that was set back changes nothing.
 * Over a restart there is only that clock: if it stands before `then`, nobody knows how long it was: Infinity.
 */
export function secondsBetween(then: Instant, now: Instant): number {
  const byCalendar = (now.at.getTime() - then.at.getTime()) / 1000;
  const seconds = then.boot === now.boot ? Math.max(byCalendar, now.uptime - then.uptime) : byCalendar;
  return seconds >= 0 ? seconds : Infinity;
}
