import { setTimeout } from "node:timers/promises";
import { Secret } from "../../secret/secret.js";
import { keyUuidOf } from "../key-record.js";
import type { KeyUuid } from "../key-uuid.js";
import type { Key } from "../keystore.js";

/** The key that is to be copied; undefined once it is not any more: it was refused, given out anew, or took too long. */
export type Wanted = () => Key | undefined;

/** Keys that are being copied while whoever asked for them goes on. */
export class Copying {
  readonly #wanted = new Map<KeyUuid, Key>();
  readonly #work = new Set<Promise<void>>();

  /**
   * Begins to copy `key`, which stays the caller's: he may wipe it as soon as this returns.
   * @param make asks for the key when it needs it, for no longer than a call; never rejects
   */
  begin({ record, passphrase }: Key, make: (wanted: Wanted) => Promise<void>): void {
    const uuid = keyUuidOf(record);
    const key = { record, passphrase: passphrase.use((bytes) => Secret.own(Buffer.from(bytes))) };
    this.cancel(uuid);
    this.#wanted.set(uuid, key);
    const wanted = () => (this.#wanted.get(uuid) === key ? key : undefined);
    const work = make(wanted).finally(() => {
      if (wanted() !== undefined) this.cancel(uuid);
      this.#work.delete(work);
    });
    this.#work.add(work);
  }

  /** From here on it is not copied any more. */
  cancel(uuid: KeyUuid): void {
    this.#wanted.get(uuid)?.passphrase.dispose();
    this.#wanted.delete(uuid);
  }

  /**
   * Waits until all are copied.
   * @param limit milliseconds; as long as it takes without it
   * @returns those that were given up since they took longer
   */
  async settled(limit?: number): Promise<KeyUuid[]> {
    const all = Promise.all(this.#work);
    if (limit === undefined) await all;
    else if (this.#work.size > 0) {
      const over = new AbortController();
      const late = setTimeout(limit, undefined, { signal: over.signal }).catch(() => undefined);
      await Promise.race([all, late]);
      over.abort();
    }
    const late = [...this.#wanted.keys()];
    for (const uuid of late) this.cancel(uuid);
    return late;
  }
}
