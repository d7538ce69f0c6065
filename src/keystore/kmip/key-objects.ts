import type { Secret } from "../../secret/secret.js";
import type { KeyUuid } from "../key-uuid.js";
import type { Key } from "../keystore.js";
import type { Budget } from "../remote/budget.js";
import type { ObjectAttributes } from "./attributes.js";
import { quoted } from "../remote/failures.js";
import { corrupt, isRefusedAsMissing, Refusal } from "./failures.js";
import type { KmipClient } from "./kmip-client.js";
import { lookAtListed } from "./listed-objects.js";
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
import { informationText, isMarkedAs, NAMESPACE } from "./stored-information.js";
import { STATE } from "./tags.js";

type Listing = ReturnType<typeof locate>;

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
  of(uuid: KeyUuid): Promise<KeyObject[]> {
    return this.#listed(this.#named(uuid), async (id) => {
      const object = await this.#read(id);
      return object !== undefined && this.#isNamed(object, uuid) ? object : undefined;
    });
  }

  /** As `of`, with the passphrases, in no more round trips. Whoever asked disposes of them. */
  async open(uuid: KeyUuid): Promise<OpenedObject[]> {
    const opened: OpenedObject[] = [];
    try {
      return await this.#listed(this.#named(uuid), async (id) => {
        const object = await this.#open(id, uuid);
        if (object !== undefined) opened.push(object);
        return object;
      });
    } catch (thrown) {
      for (const { passphrase } of opened) dispose(passphrase);
      throw thrown;
    }
  }

  inGroup(): Promise<KeyObject[]> {
    return this.#listed(locate({ name: "Object Group", value: this.group }), async (id) => {
      const object = await this.#read(id);
      return object !== undefined && this.#isInGroup(object) ? object : undefined;
    });
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
      if (!(thrown instanceof Refusal)) throw thrown;
      const object = await this.#read(id).catch(refusalOnly);
      if (object instanceof Refusal || object?.attributes.state !== STATE.Active) throw thrown;
    }
  }

  /**
   * Destroys an object of the key that was never activated; leaves it alone if it is meanwhile.
   * @throws KEY_CORRUPT if it is not marked as the key's
   */
  async discard(id: string, uuid: KeyUuid): Promise<void> {
    const object = await this.#find(id, uuid);
    if (object?.attributes.state !== STATE.PreActive) return;
    this.#insistOnOurs(object, uuid);
    try {
      await this.client.ask(destroy(id), this.budget);
    } catch (thrown) {
      if (!(thrown instanceof Refusal)) throw thrown;
      // activated after we looked, which servers refuse too, or discarded by another
      if ((await this.#find(id, uuid))?.attributes.state === STATE.PreActive) throw thrown;
    }
  }

  /**
   * Destroys all objects of the key, active or not. Idempotent.
   * @throws KEY_CORRUPT if one is not marked as the key's; none is destroyed then
   */
  async destroyAll(uuid: KeyUuid): Promise<void> {
    await this.destroy(await this.of(uuid), uuid);
  }

  /** As `destroyAll`, these. */
  async destroy(objects: readonly KeyObject[], uuid: KeyUuid): Promise<void> {
    for (const object of objects) this.#insistOnOurs(object, uuid);
    await Promise.all(objects.map((object) => this.#destroy(object, uuid)));
  }

  async #destroy({ id, attributes }: KeyObject, uuid: KeyUuid): Promise<void> {
    // in one message: whoever is killed leaves the key, or nothing
    const operations = attributes.state === STATE.Active ? [revoke(id), destroy(id)] : [destroy(id)];
    let outcomes = await this.client.askTogether(operations, this.budget);
    if (operations.length > 1 && outcomes.every(({ kind }) => kind === "refused")) {
      // a server that takes no batches has refused the message
      outcomes = [];
      for (const one of operations) outcomes.push(...(await this.client.askTogether([one], this.budget)));
    }
    const last = outcomes.at(-1);
    if (last?.kind !== "refused") return;
    // somebody else was faster, unless it is listed again
    if (isRefusedAsMissing(last.refusal) && (await this.#find(id, uuid)) === undefined) return;
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

  async #find(id: string, uuid: KeyUuid): Promise<KeyObject | undefined> {
    return (await this.of(uuid)).find((object) => object.id === id);
  }

  #listed<T>(question: Listing, look: (id: string) => Promise<T | undefined>): Promise<T[]> {
    return lookAtListed(() => this.client.ask(question, this.budget), look, this.budget);
  }

  /**
   * Undefined if the object is destroyed, which a server may remember.
   * @throws Refusal if the server denies it
   */
  async #read(id: string): Promise<KeyObject | undefined> {
    const attributes = await this.client.ask(getAttributes(id), this.budget);
    const isGone = attributes.state === STATE.Destroyed || attributes.state === STATE.DestroyedCompromised;
    return isGone ? undefined : { id, attributes };
  }

  /** Undefined if the object is destroyed, or is another key's or nobody's. */
  async #open(id: string, uuid: KeyUuid): Promise<OpenedObject | undefined> {
    const [object, passphrase] = await Promise.allSettled([
      this.#read(id),
      this.client.ask(get(id), this.budget).catch(refusalOnly),
    ]);
    if (object.status === "fulfilled" && object.value !== undefined && this.#isNamed(object.value, uuid)) {
      if (passphrase.status === "rejected") throw passphrase.reason;
      return { ...object.value, passphrase: passphrase.value };
    }
    if (passphrase.status === "fulfilled") dispose(passphrase.value);
    if (object.status === "rejected") throw object.reason;
    return undefined;
  }

  #insistOnOurs({ id, attributes }: KeyObject, uuid: KeyUuid): void {
    if (isMarkedAs(uuid, attributes)) return;
    throw corrupt(
      this.client.place,
      `object ${quoted(id)} has the name of key ${uuid}, and not its record: luksmith does not destroy it`,
    );
  }

  /** A server may list what has only a similar name. One that does not tell names is taken at its word. */
  #isNamed({ attributes: { names } }: KeyObject, uuid: KeyUuid): boolean {
    return names.length === 0 || names.includes(this.#name(uuid));
  }

  #isInGroup({ attributes: { groups } }: KeyObject): boolean {
    return groups.length === 0 || groups.includes(this.group);
  }

  #named(uuid: KeyUuid): Listing {
    return locate({ name: "Name", value: this.#name(uuid) });
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
