import type { Secret } from "../../secret/secret.js";
import type { KeyUuid } from "../key-uuid.js";
import type { Key } from "../keystore.js";
import type { Budget } from "../remote/budget.js";
import type { ObjectAttributes } from "./attributes.js";
import { isRefusedAsMissing, Refusal } from "./failures.js";
import type { KmipClient } from "./kmip-client.js";
import { type ObjectKind, objectOf } from "./managed-object.js";
import {
  activate,
  destroy,
  get,
  getAttributes,
  locate,
  modifyAttribute,
  register,
  revoke,
} from "./operations.js";
import { informationText, NAMESPACE } from "./stored-information.js";
import { STATE } from "./tags.js";

/** An object that a server has for a key. It is a key from the moment it is activated until it is revoked. */
export interface KeyObject {
  /** The server's. */
  readonly id: string;
  readonly attributes: ObjectAttributes;
}

/** An object with what Get answered: a passphrase, which whoever has it disposes of, or a refusal. */
export interface OpenedObject extends KeyObject {
  readonly passphrase: Secret | Refusal;
}

/**
 * The objects that are keys, during one operation of the keystore. Each is called GROUP/UUID and belongs to the object
 * group GROUP; our record is its application specific information.
 */
export class KeyObjects {
  constructor(
    private readonly client: KmipClient,
    private readonly group: string,
    private readonly kind: ObjectKind,
    private readonly budget: Budget,
  ) {}

  /** All objects of a name: the server lets several have the same. */
  async of(uuid: KeyUuid): Promise<KeyObject[]> {
    return this.#read(await this.#ids(uuid));
  }

  /** As `of`, with the passphrases, in no more round trips. Whoever asked disposes of them. */
  async open(uuid: KeyUuid): Promise<OpenedObject[]> {
    const results = await Promise.allSettled((await this.#ids(uuid)).map((id) => this.#open(id)));
    const opened = results.flatMap((result) => (result.status === "fulfilled" ? result.value : []));
    const failed = results.find((result) => result.status === "rejected");
    if (failed === undefined) return opened;
    for (const { passphrase } of opened) dispose(passphrase);
    throw failed.reason;
  }

  async inGroup(): Promise<KeyObject[]> {
    return this.#read(
      await this.client.ask(locate({ name: "Object Group", value: this.group }), this.budget),
    );
  }

  /** Undefined if the object is gone. A server may remember what it has destroyed. */
  async read(id: string): Promise<KeyObject | undefined> {
    try {
      const attributes = await this.client.ask(getAttributes(id), this.budget);
      const isGone = attributes.state === STATE.Destroyed || attributes.state === STATE.DestroyedCompromised;
      return isGone ? undefined : { id, attributes };
    } catch (thrown) {
      if (isRefusedAsMissing(thrown)) return undefined;
      throw thrown;
    }
  }

  /** @returns the id of a new object, which is not active */
  register({ record, passphrase }: Key, uuid: KeyUuid, writer: string): Promise<string> {
    const object = objectOf(this.kind, passphrase);
    const operation = register(object, [
      { name: "Name", value: this.#name(uuid) },
      { name: "Cryptographic Usage Mask", value: object.usage },
      { name: "Object Group", value: this.group },
      {
        name: "Application Specific Information",
        namespace: NAMESPACE,
        data: informationText({ writer, record }),
      },
    ]);
    return this.client.ask(operation, this.budget);
  }

  async activate(id: string): Promise<void> {
    try {
      await this.client.ask(activate(id), this.budget);
    } catch (thrown) {
      // asked again because an answer was lost: it is active, which is refused
      if (thrown instanceof Refusal && (await this.read(id))?.attributes.state === STATE.Active) return;
      throw thrown;
    }
  }

  /** Destroys what was never activated; leaves it alone if it is meanwhile, which servers insist on too. */
  async discard(id: string): Promise<void> {
    try {
      await this.client.ask(destroy(id), this.budget);
    } catch (thrown) {
      if (!(thrown instanceof Refusal)) throw thrown;
      const object = await this.read(id);
      if (object?.attributes.state === STATE.PreActive) throw thrown;
    }
  }

  /** Destroys the object, active or not. Idempotent. */
  async destroy({ id, attributes }: KeyObject): Promise<void> {
    // in one message: whoever is killed leaves the key, or nothing
    const operations = attributes.state === STATE.Active ? [revoke(id), destroy(id)] : [destroy(id)];
    let outcomes = await this.client.askTogether(operations, this.budget);
    if (operations.length > 1 && outcomes.every(({ kind }) => kind === "refused")) {
      // a server that takes no batches has refused the message
      outcomes = [];
      for (const one of operations) outcomes.push(...(await this.client.askTogether([one], this.budget)));
    }
    const last = outcomes.at(-1);
    if (last?.kind !== "refused" || isRefusedAsMissing(last.refusal)) return;
    // an object that could not be revoked cannot be destroyed; why is the first's to say
    throw outcomes.find((outcome) => outcome.kind === "refused")?.refusal ?? last.refusal;
  }

  async replaceInformation(
    id: string,
    current: ObjectAttributes["information"][number],
    changed: string,
  ): Promise<void> {
    await this.client.ask(modifyAttribute(id, current, changed), this.budget);
  }

  /** None if the object is gone. */
  async #open(id: string): Promise<OpenedObject[]> {
    const [object, passphrase] = await Promise.allSettled([
      this.read(id),
      this.client.ask(get(id), this.budget).catch(refusalOnly),
    ]);
    if (passphrase.status === "rejected") throw passphrase.reason;
    if (object.status === "fulfilled" && object.value !== undefined) {
      return [{ ...object.value, passphrase: passphrase.value }];
    }
    dispose(passphrase.value);
    if (object.status === "rejected") throw object.reason;
    return [];
  }

  #ids(uuid: KeyUuid): Promise<readonly string[]> {
    return this.client.ask(locate({ name: "Name", value: this.#name(uuid) }), this.budget);
  }

  async #read(ids: readonly string[]): Promise<KeyObject[]> {
    const objects = await Promise.all(ids.map((id) => this.read(id)));
    return objects.filter((object) => object !== undefined);
  }

  #name(uuid: KeyUuid): string {
    return `${this.group}/${uuid}`;
  }
}

function dispose(passphrase: Secret | Refusal): void {
  if (!(passphrase instanceof Refusal)) passphrase.dispose();
}

function refusalOnly(thrown: unknown): Refusal {
  if (thrown instanceof Refusal) return thrown;
  throw thrown;
}
