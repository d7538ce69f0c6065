import { asLuksmithError, type LuksmithError } from "../error/luksmith-error.js";
import type { HostAdapter } from "../host/host-adapter.js";
import { eachBounded } from "../keystore/transfer/each-bounded.js";
import type { GuestLocks } from "../plan/guest-locks.js";
import type { DiskResult, RotationWish } from "./rotate-guest.js";

/** Guests that are worked on side by side. */
const AT_ONCE = 4;

/** A guest of which no disk could be worked on. */
export interface GuestFailure {
  /** As it was asked for, or its name. */
  readonly guest: string;
  readonly error: LuksmithError;
}

export interface Rotation {
  readonly disks: readonly DiskResult[];
  readonly failures: readonly GuestFailure[];
  /** Guests that nobody has named, and on which another command works: a conversion does for hours. */
  readonly passed: readonly GuestFailure[];
}

export interface WantedGuest {
  readonly nameOrId: string;
  /** Its name. */
  readonly called: string;
}

/** Every guest that is at home here. */
export async function allGuests(host: Pick<HostAdapter, "listGuests">): Promise<WantedGuest[]> {
  const guests = await host.listGuests();
  return guests
    .filter(({ elsewhere }) => elsewhere !== true)
    .map(({ id, name }) => ({ nameOrId: id, called: name }));
}

/**
 * Does `work` for each guest under its lock; what one fails with keeps none of the others from theirs. One that nobody has
 * named may be no failure: a transient guest is not at home here.
 */
export async function rotateGuests(
  guests: readonly WantedGuest[],
  { manner, scope }: Pick<RotationWish, "manner" | "scope">,
  { host, locks }: { readonly host: HostAdapter; readonly locks: GuestLocks },
  work: (id: string) => Promise<readonly DiskResult[]>,
): Promise<Rotation> {
  const disks = new Map<WantedGuest, readonly DiskResult[]>();
  const failures = new Map<WantedGuest, GuestFailure>();
  await eachBounded(guests, AT_ONCE, async (wanted) => {
    try {
      const { id } = await host.readGuest(wanted.nameOrId);
      disks.set(wanted, await (manner === "dry-run" ? work(id) : locks.hold({ id }, () => work(id))));
    } catch (thrown) {
      failures.set(wanted, { guest: wanted.called, error: asLuksmithError(thrown) });
    }
  });
  // in the order in which they were asked for, whoever came first
  const failed = guests.flatMap((guest) => failures.get(guest) ?? []);
  const [gone, busy] = scope === "all" ? ["GUEST_NOT_FOUND", "LOCK_TIMEOUT"] : [];
  return {
    disks: guests.flatMap((guest) => disks.get(guest) ?? []),
    failures: failed.filter(({ error: { code } }) => code !== gone && code !== busy),
    passed: failed.filter(({ error: { code } }) => code === busy),
  };
}
