import type { KeyUuid } from "../keystore/key-uuid.js";
import type { PathVolume } from "../storage/volume.js";
import type { Guest } from "./host-adapter.js";

type NamedGuest = Pick<Guest, "id" | "name">;

/** Where a disk is copied to: there already, as large as the guest's disk, and formatted if it is encrypted. */
export interface MirrorTarget {
  readonly volume: PathVolume;
  /** Of the host secret that opens it; absent for a plain one. */
  readonly secretUuid?: KeyUuid;
}

/** What the running guest's QEMU does with a disk. */
export type MirrorState =
  | { readonly kind: "stopped" }
  /** The disk is nothing but its volume: no copy was begun, or it has ended in one way or the other. */
  | { readonly kind: "none"; readonly live: Guest }
  | {
      /** `ready`: what the guest writes goes to both volumes at once, and they hold the same. */
      readonly kind: "copying" | "ready";
      readonly live: Guest;
      /** Name of the volume that is copied to. */
      readonly to: string;
      readonly secretUuid?: KeyUuid;
      /** Bytes. */
      readonly done: bigint;
      readonly total: bigint;
    }
  /** The host manager does something else with the disk: commits a snapshot, pulls a base. */
  | { readonly kind: "busy"; readonly live: Guest; readonly with: string };

/** Copies disks of running guests to other volumes, and gives them these, while the guests go on. Not from a hook. */
export interface DiskMirror {
  /** @throws HOST_UNAVAILABLE, GUEST_NOT_FOUND */
  look(guest: NamedGuest, disk: string): Promise<MirrorState>;

  /**
   * Begins to copy all of the disk. What the guest writes meanwhile is on the new volume as well before the guest hears
   * that it is written. The copy outlives this process, and ends with the guest.
   * @param rate bytes a second at most @throws CONVERT_FAILED
   */
  start(guest: NamedGuest, disk: string, target: MirrorTarget, rate?: bigint): Promise<void>;

  /** Changes how fast a copy goes at most; no limit without `rate`. */
  limit(guest: NamedGuest, disk: string, rate?: bigint): Promise<void>;

  /** Ends a copy; the guest keeps its volume. Idempotent. @throws CONVERT_FAILED */
  cancel(guest: NamedGuest, disk: string): Promise<void>;

  /**
   * Gives the guest the volume that its disk was copied to, in its running and in its persistent configuration. The guest
   * is paused for that moment, in which both volumes hold the same: whatever ends the guest, the host or this process
   * then, and whichever of both volumes the next start takes, nothing is lost. Idempotent.
   * @throws CONVERT_FAILED, GUEST_NOT_RUNNING, HOST_UNAVAILABLE
   */
  complete(guest: NamedGuest, disk: string, target: MirrorTarget): Promise<void>;

  /**
   * Lets a guest run again that a `complete` which was cut short has left paused; one that still works is waited for.
   * Idempotent. @throws LOCK_TIMEOUT
   */
  wake(guest: NamedGuest): Promise<"woken" | "not needed">;

  /** Guests that a `complete` has paused, be it at work still or cut short; nobody else's pause. */
  pausedGuests(): Promise<NamedGuest[]>;
}
