import { setTimeout } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { asLuksmithError } from "../error/luksmith-error.js";
import type { KeyRecord } from "../generated/key-record.js";
import { keyUuidOf } from "../keystore/key-record.js";
import type { Keystore } from "../keystore/keystore.js";
import { generationOf } from "../keystore/replacement.js";
import type { Secret } from "../secret/secret.js";

/** A rotation whose new passphrase opens the volume, while the keystore still has the one before. */
export interface Begun {
  /** As the keystore has it, with the note of this rotation. */
  readonly record: KeyRecord;
  /** The keyslot of the passphrase that is replaced. */
  readonly former: number;
  readonly replaced: Secret;
}

/** How often a record that others change all the time is read anew. */
const ATTEMPTS = 5;
/** Milliseconds: between two looks; and that are waited at least, and at most, since starts wait as well. */
const LOOK = 250;
const LEAST = 1000;
const MOST = 10_000;

/** A passphrase that a keystore is to have in place of another one. */
export class NewPassphrase {
  /** Milliseconds that the keystore has taken to answer, or not to answer. */
  #taken = 0;

  constructor(
    private readonly keystore: Keystore,
    private readonly passphrase: Secret,
    private readonly patience = LEAST,
  ) {}

  /**
   * Replaces it while the note is there; what others change in the record besides that stays.
   * @throws KEY_CONFLICT if somebody else has taken the rotation over: nothing was replaced; what the keystore throws
   */
  async replace({ record, former, replaced }: Begun, rotatedAt: string): Promise<void> {
    const { rotation } = record;
    if (rotation === undefined) throw new Error("a rotation that has begun is noted");
    const started = performance.now();
    try {
      let expected = record;
      for (let attempt = 1; ; attempt++) {
        const generation = generationOf(expected) + 1;
        const next = { ...expected, generation, rotatedAt, rotation: { ...rotation, former } };
        try {
          await this.keystore.replace({ record: next, passphrase: this.passphrase }, expected);
          return;
        } catch (thrown) {
          if (asLuksmithError(thrown).code !== "KEY_CONFLICT" || attempt === ATTEMPTS) throw thrown;
          expected = (await this.#changedOtherwise(expected, replaced)) ?? giveUp(thrown);
        }
      }
    } finally {
      this.#taken = performance.now() - started;
    }
  }

  /** The record as it is now, if it still is the same rotation of the same passphrase. */
  async #changedOtherwise(expected: KeyRecord, replaced: Secret): Promise<KeyRecord | undefined> {
    const key = await this.keystore.fetch(keyUuidOf(expected));
    using passphrase = key?.passphrase;
    if (key === undefined || passphrase?.equals(replaced) !== true) return undefined;
    const { record } = key;
    const isReserved =
      record.recovery?.some(({ keyslot }) => keyslot === expected.rotation?.keyslot) === true;
    const isSame =
      isDeepStrictEqual(record.rotation, expected.rotation) &&
      generationOf(record) === generationOf(expected) &&
      record.conversion === undefined;
    return isSame && !isReserved ? record : undefined;
  }

  /**
   * After a replacement whose answer was lost: until the keystore has the new passphrase, or has been waited for as long
   * again as it had for its answer. A server that is slow does at its end what it was asked, whoever has gone.
   */
  async waitForIt({ record }: Begun): Promise<void> {
    const end = performance.now() + Math.min(Math.max(this.#taken, this.patience), MOST);
    for (;;) {
      if (await this.#isThere(keyUuidOf(record)).catch(() => false)) return;
      const left = end - performance.now();
      if (left <= 0) return;
      await setTimeout(Math.min(LOOK, left));
    }
  }

  async #isThere(uuid: Parameters<Keystore["fetch"]>[0]): Promise<boolean> {
    const key = await this.keystore.fetch(uuid);
    using passphrase = key?.passphrase;
    return passphrase?.equals(this.passphrase) === true;
  }
}

/** Whether a keystore may still do what it seems to have failed to do. */
export function mayComeLate(failure: unknown): boolean {
  const { code } = asLuksmithError(failure);
  return code === "KEYSTORE_UNAVAILABLE" || code === "KEYSTORE_ANSWER_INVALID" || code === "INTERNAL";
}

function giveUp(thrown: unknown): never {
  throw thrown;
}
