import { setTimeout } from "node:timers/promises";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { KeyUuid } from "../key-uuid.js";
import type { Key } from "../keystore.js";
import type { Budget } from "../remote/budget.js";
import type { Entry, SharedName } from "../remote/unique-store.js";
import { REMOVED_WITHIN, removeUnfinished } from "./abandoned.js";
import { toMetadata } from "./record-metadata.js";
import type { Consumer, SecretEntry } from "./secret-entry.js";
import type { Secrets } from "./secrets.js";

/**
 * Milliseconds after which a secret without payload is taken for what a killed writer has left, and those in which a
 * writer is certain to finish before. Whoever removes a secret looks again whether it has a payload.
 */
export const PATIENCE = 6000;
const IN_TIME = 4500;
/** Looks for what was just written, and milliseconds between two: another of Barbican's servers may answer. */
const ATTEMPTS = 3;
const PAUSE = 100;

/** Secrets of the name that are replaced. */
export interface Beside {
  readonly secrets: readonly Pick<SecretEntry, "id">[];
  /** Called at the last moment before the new one is the key. @throws if they are not what they were */
  readonly confirm: () => Promise<void>;
}

/**
 * The name under which the secret of a new key stands, which Barbican lets others have as well: it is made without its
 * payload, and finished by it. Everything else that belongs to it is written before.
 */
export class NewSecret implements SharedName {
  readonly #secrets: Secrets;
  readonly #key: Key;
  readonly #uuid: KeyUuid;
  readonly #budget: Budget;
  readonly #beside: ReadonlySet<string>;
  readonly #confirm: () => Promise<void>;
  #begun = 0;
  #mine = "";
  #created = "";

  constructor(
    secrets: Secrets,
    key: Key,
    uuid: KeyUuid,
    budget: Budget,
    { secrets: replaced, confirm }: Beside = { secrets: [], confirm: () => Promise.resolve() },
  ) {
    this.#secrets = secrets;
    this.#key = key;
    this.#uuid = uuid;
    this.#budget = budget;
    this.#beside = new Set(replaced.map(({ id }) => id));
    this.#confirm = confirm;
  }

  /** Of the finished secret, by Barbican's clock. */
  get created(): string {
    return this.#created;
  }

  async entries(): Promise<Entry[]> {
    const entries = await this.#secrets.under(this.#uuid, this.#budget);
    return entries
      .filter(({ id }) => !this.#beside.has(id))
      .map(({ id, contentType }) => ({ id, finished: contentType !== undefined }));
  }

  async begin(): Promise<string> {
    this.#begun = performance.now();
    this.#mine = await this.#secrets.create(this.#key.record, this.#uuid, this.#budget);
    return this.#mine;
  }

  async finish(id: string): Promise<void> {
    try {
      await this.#write(id);
    } catch (thrown) {
      // Barbican has said no; else nobody knows what it has done, and the secret may be finished
      if (!isUnknown(thrown)) await this.#secrets.remove(id, this.#budget).catch(() => undefined);
      throw thrown;
    }
    if (performance.now() - this.#begun >= IN_TIME) await this.#outwaitRemovers();
    await this.#requireFinished(id);
  }

  /** Of somebody else only what has no payload. */
  remove(id: string): Promise<void> {
    return id === this.#mine
      ? this.#secrets.remove(id, this.#budget)
      : removeUnfinished(this.#secrets, id, this.#budget);
  }

  /** Not a moment less: who has seen no payload just before it was written may still remove the secret. */
  async #outwaitRemovers(): Promise<void> {
    if (this.#budget.left > REMOVED_WITHIN) {
      await setTimeout(REMOVED_WITHIN);
      return;
    }
    throw new LuksmithError("KEYSTORE_UNAVAILABLE", {
      what: `it is not certain that key ${this.#uuid} is stored`,
      why: "the keystore was so slow that somebody may have removed it as unfinished, and there is no time to look again",
      hint: "try again, or give the keystore more timeout in the settings",
    });
  }

  async #requireFinished(id: string): Promise<void> {
    for (let count = 1; ; count++) {
      const entry = await this.#secrets.entry(id, this.#budget);
      if (entry?.contentType !== undefined) {
        this.#created = entry.created;
        return;
      }
      if (count === ATTEMPTS) throw this.#gone();
      await this.#budget.pause(PAUSE);
    }
  }

  async #write(id: string): Promise<void> {
    const [metadata] = await Promise.all([
      this.#secrets.writeMetadata(id, toMetadata(this.#key.record), this.#budget),
      this.#secrets.register(id, consumerOf(this.#uuid), this.#budget),
    ]);
    await this.#confirm();
    if (metadata === "absent" || (await this.#writePayload(id)) === "absent") throw this.#gone();
  }

  async #writePayload(id: string): Promise<"written" | "absent"> {
    // lives as long as the request does, which the passphrase's owner need not wait for
    const payload = this.#key.passphrase.use((bytes) => Buffer.from(bytes));
    try {
      return await this.#secrets.writePayload(id, payload, contentTypeOf(payload), this.#budget);
    } finally {
      payload.fill(0);
    }
  }

  #gone(): LuksmithError {
    return new LuksmithError("KEYSTORE_WRITE_FAILED", {
      what: `cannot store key ${this.#uuid}`,
      why: "somebody has removed its secret while it was stored",
      hint: "try again",
    });
  }
}

/**
 * How Luksmith tells Barbican that it uses a secret. Barbican keeps 36 characters of the resource's id: the UUID that
 * also is the volume's LUKS header's has as many, and stays when the guest gets another name.
 */
export function consumerOf(uuid: KeyUuid): Consumer {
  return { service: "luksmith", resource_type: "volume", resource_id: uuid };
}

function isUnknown(thrown: unknown): boolean {
  return !(thrown instanceof LuksmithError) || thrown.code === "KEYSTORE_UNAVAILABLE";
}

/** Text where it is some, so that an administrator can read it and type it; white space around it would be lost. */
function contentTypeOf(payload: Buffer): string {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(payload);
    return /\p{Cc}/u.test(text) || text.trim() !== text ? "application/octet-stream" : "text/plain";
  } catch {
    return "application/octet-stream";
  }
}
