import type { MigrationAnswer } from "../generated/migration-answer.js";
import type { Annotations, Guest } from "./host-adapter.js";

/** With which the line begins on standard error by which the hook answers a check: a MigrationAnswer in JSON follows. */
export const CHECK_ANSWER = "luksmith-migrate-check: ";

type NamedGuest = Pick<Guest, "id" | "name">;

/** What QEMU waits for that was started for a guest. */
export interface Incoming {
  /**
   * From the source of a migration: the guest's memory, or the content of volumes as well, which the source's QEMU sends
   * as its guest sees it. `nothing`: the guest starts or is restored here.
   */
  readonly brings: "memory" | "memory-and-storage" | "nothing";
  /**
   * How the volumes of its disks are open, by device name: for writing if they are copied to, else read-only until the
   * guest has arrived. A disk of which that cannot be seen is not in it.
   */
  readonly opened: ReadonlyMap<string, Opened>;
}

export type Opened = "read-only" | "for-writing";

/**
 * Where a guest that migrates here is: its QEMU waits for memory, it runs here, or it does not (the migration failed, or
 * it has stopped since).
 */
export type Whereabouts = "arriving" | "running" | "absent";

/** Live migration, as a host manager has it. */
export interface GuestMigration {
  /** The guest, as its configuration reads with these annotations in the place of `replaced`; else as it is. */
  annotated(guest: Guest, annotations: Annotations, replaced: Annotations): Promise<Guest>;
  /** From the `migrate` hook: the host manager goes on with this guest's configuration and not with the one it gave. */
  answer(guest: Guest): void;
  /** From the `arrival` hook. @throws TOOL_FAILED if it cannot be seen: then nothing may go on */
  incoming(guest: Guest): Promise<Incoming>;
  /**
   * From the `migrate` hook: whether the guest surely does not run, and nothing but its definition comes. @param disks
   * device names of those that tell it
   */
  isShutOff(guest: Guest, disks: readonly string[]): boolean;
  /** Whether there is a persistent configuration of the guest here. May be called from a hook. */
  isDefined(guest: NamedGuest): boolean;
  /** Of all host secrets, of others too. May be called from a hook. @throws HOST_UNAVAILABLE, HOST_SECRET_FAILED */
  secretUuids(): Promise<ReadonlySet<string>>;
  /** Not from a hook. @throws HOST_UNAVAILABLE, TOOL_FAILED */
  whereabouts(guest: NamedGuest): Promise<Whereabouts>;
  /**
   * What the Luksmith of another host would do if the guest migrated there now. Nothing of the guest is sent but its
   * configuration, without its secrets; nothing is left on either host. Not from a hook.
   * @param target what the host manager's own migration command is given: a libvirt connection URI
   * @returns undefined where the target has no Luksmith, or one that is too old to answer
   * @throws HOST_UNAVAILABLE if this host or the target cannot be reached, MIGRATION_ANSWER_INVALID also if the hook there
   *   failed before it could answer, GUEST_NOT_FOUND, GUEST_EXISTS if
   *   the target has another guest of this name, or this one runs there, TOOL_FAILED
   */
  ask(guest: NamedGuest, target: string): Promise<MigrationAnswer | undefined>;
}
