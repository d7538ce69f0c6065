import { fstatSync, futimesSync } from "node:fs";
import type { CommandRunner } from "../exec/command-runner.js";
import type { Guest } from "../host/host-adapter.js";
import { VolumeLocks } from "../storage/volume-lock.js";

/** Seconds; less than virsh waits for an answer, since libvirtd gives none about a guest whose hook waits here. */
const PATIENCE = 10;

/** Seconds. Behind this lock nobody asks about guests; it is held while one mapping is closed, or disks are shredded. */
const GATE_PATIENCE = 60;

/** When the reaper began to watch a guest; opaque. */
export type Watch = bigint;

/** Whoever changes a guest's keys, configuration or new volumes does so alone, be it a hook or a command. */
export class GuestLocks {
  readonly #locks: VolumeLocks;
  readonly #gates: VolumeLocks;

  /** @param patience seconds to wait for whoever works on the guest */
  constructor(runner: CommandRunner, directory?: string, patience = PATIENCE) {
    this.#locks = new VolumeLocks(runner, directory, patience);
    this.#gates = new VolumeLocks(runner, directory, GATE_PATIENCE);
  }

  /** @throws LOCK_TIMEOUT, NOT_PERMITTED */
  hold<T>({ id }: Pick<Guest, "id">, work: () => Promise<T>): Promise<T> {
    return this.#locks.hold(`guest ${id}`, work);
  }

  /** Whether somebody works on the guest now. @throws NOT_PERMITTED */
  isHeld({ id }: Pick<Guest, "id">): Promise<boolean> {
    return this.#locks.isShared(`guest ${id}`);
  }

  /**
   * A start of the guest begins. When this resolves, the reaper takes nothing from the guest that it looked for before,
   * so that the start may give it secrets and mappings. Starts no process for a guest that the reaper never watched.
   * @throws LOCK_TIMEOUT, NOT_PERMITTED
   */
  async announceStart({ id }: Pick<Guest, "id">): Promise<void> {
    if (!this.#gates.wasShared(gateOf(id))) return;
    await this.#gates.hold(gateOf(id), (gate) => {
      const now = Date.now() / 1000;
      futimesSync(gate, now, now);
      return Promise.resolve();
    });
  }

  /** From now on, starts of the guest are noticed by `reap`. @throws LOCK_TIMEOUT, NOT_PERMITTED */
  watch({ id }: Pick<Guest, "id">): Promise<Watch> {
    return this.#gates.hold(gateOf(id), (gate) => Promise.resolve(announcedAt(gate)));
  }

  /**
   * Does `work` while nobody else works on the guest and no start of it goes on, unless one was announced since
   * `watch`: then it resolves to undefined. @throws LOCK_TIMEOUT, NOT_PERMITTED
   */
  reap<T>(guest: Pick<Guest, "id">, since: Watch, work: () => Promise<T>): Promise<T | undefined> {
    return this.hold(guest, () => this.reapHeld(guest, since, work));
  }

  /** As `reap`, for who holds the guest already, and waits for nobody in `work`. @throws LOCK_TIMEOUT, NOT_PERMITTED */
  reapHeld<T>({ id }: Pick<Guest, "id">, since: Watch, work: () => Promise<T>): Promise<T | undefined> {
    return this.#gates.hold(gateOf(id), async (gate) =>
      announcedAt(gate) === since ? await work() : undefined,
    );
  }
}

function gateOf(id: string): string {
  return `start of guest ${id}`;
}

/** The modification time says it: the file stays empty, as every lock's. */
function announcedAt(gate: number): bigint {
  return fstatSync(gate, { bigint: true }).mtimeNs;
}
