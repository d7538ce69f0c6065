import type { CommandRunner } from "../exec/command-runner.js";
import type { Guest } from "../host/host-adapter.js";
import { VolumeLocks } from "../storage/volume-lock.js";

/** Seconds; less than virsh waits for an answer, since libvirtd gives none about a guest whose hook waits here. */
const PATIENCE = 10;

/** Whoever changes a guest's keys, configuration or new volumes does so alone, be it a hook or a command. */
export class GuestLocks {
  readonly #locks: VolumeLocks;

  constructor(runner: CommandRunner, directory?: string) {
    this.#locks = new VolumeLocks(runner, directory, PATIENCE);
  }

  /** @throws LOCK_TIMEOUT, NOT_PERMITTED */
  hold<T>({ id }: Pick<Guest, "id">, work: () => Promise<T>): Promise<T> {
    return this.#locks.hold(`guest ${id}`, work);
  }
}
