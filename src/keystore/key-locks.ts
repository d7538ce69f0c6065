import { LuksmithError } from "../error/luksmith-error.js";
import type { CommandRunner } from "../exec/command-runner.js";
import type { KeyRecord } from "../generated/key-record.js";
import { VolumeLocks } from "../storage/volume-lock.js";
import { keyUuidOf } from "./key-record.js";
import { type KeyUuid, parseKeyUuid } from "./key-uuid.js";

/** Seconds; less than a start waits for the lock of its guest, which most of those hold who wait here. */
const PATIENCE = 8;

/**
 * Locks of keys, one for each UUID, between all processes of this host. Whoever changes the passphrase, the record or the
 * keyslots of a key in more than one step, moves it, or deletes it, holds its lock. Order: guest, key, volume.
 */
export class KeyLocks {
  readonly #locks: VolumeLocks;

  /** With `directory` and `patience` as VolumeLocks has them. */
  constructor(runner: CommandRunner, directory?: string, patience = PATIENCE) {
    this.#locks = new VolumeLocks(runner, directory, patience);
  }

  /** @throws LOCK_TIMEOUT, NOT_PERMITTED */
  async hold<T>(uuid: KeyUuid, work: () => Promise<T>): Promise<T> {
    let isHeld = false;
    const held = () => {
      isHeld = true;
      return work();
    };
    return await this.#locks.hold(`key ${uuid}`, held).catch((thrown: unknown) => {
      throw isHeld ? thrown : inUse(uuid, thrown);
    });
  }
}

/** Whose lock it is that a record is under: a former passphrase is under that of the key which it was the passphrase of. */
export function lockedWith(record: KeyRecord): KeyUuid {
  return (record.archived && parseKeyUuid(record.archived.of)) ?? keyUuidOf(record);
}

function inUse(uuid: KeyUuid, thrown: unknown): unknown {
  if (!(thrown instanceof LuksmithError) || thrown.code !== "LOCK_TIMEOUT") return thrown;
  return new LuksmithError("LOCK_TIMEOUT", {
    what: `another luksmith process works with key ${uuid}`,
    ...(thrown.why !== undefined && { why: thrown.why }),
    hint: "try again when it has finished: a conversion in place takes as long as reading and writing the whole disk",
    cause: thrown,
  });
}
