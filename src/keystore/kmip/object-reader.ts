import type { KeyUuid } from "../key-uuid.js";
import type { Key } from "../keystore.js";
import { forbidden, type Place, quoted } from "../remote/failures.js";
import { generationOf } from "../replacement.js";
import { corrupt, Refusal } from "./failures.js";
import type { KeyObject, OpenedObject } from "./key-objects.js";
import { readInformation, type StoredInformation } from "./stored-information.js";
import { STATE } from "./tags.js";

/** Objects of one key; there are former ones while it is replaced, or after somebody was killed at that. */
interface Generations<T> {
  readonly newest: T | undefined;
  readonly former: readonly T[];
}

/** What the objects of a key say. */
export class ObjectReader {
  constructor(private readonly place: Place) {}

  /** The key, or the server's refusal to give it out; the passphrases of all other objects are wiped. */
  key(opened: readonly OpenedObject[], uuid: KeyUuid): Key | Refusal | undefined {
    let key: Key | Refusal | undefined;
    try {
      const object = this.generations(opened, uuid).newest;
      if (object === undefined) return undefined;
      const { record } = this.active(object, uuid);
      const { passphrase } = object;
      return (key = passphrase instanceof Refusal ? passphrase : { record, passphrase });
    } finally {
      for (const { passphrase } of opened) {
        const isGiven = key !== undefined && "passphrase" in key && key.passphrase === passphrase;
        if (!isGiven && !(passphrase instanceof Refusal)) passphrase.dispose();
      }
    }
  }

  /**
   * The key's object, and those with its former passphrases, which are on their way out.
   * @throws KEY_CORRUPT if there are several of one generation: nobody can say which one opens the disk
   */
  generations<T extends KeyObject>(objects: readonly T[], uuid: KeyUuid): Generations<T> {
    const finished = objects.filter(isFinished);
    if (finished.length < 2) return { newest: finished[0], former: [] };
    const [newest, ...former] = finished
      .map((object) => ({ object, generation: generationOf(this.information(object, uuid).record) }))
      .sort((a, b) => b.generation - a.generation);
    if (newest?.generation !== former[0]?.generation)
      return { newest: newest?.object, former: former.map(({ object }) => object) };
    const ids = objects.map(({ id }) => quoted(id)).join(", ");
    throw corrupt(this.place, `there are several objects of the name of key ${uuid}: ${ids}`);
  }

  /** @throws KEYSTORE_FORBIDDEN if the object was revoked, KEY_CORRUPT */
  active(object: KeyObject, uuid: KeyUuid): StoredInformation {
    if (object.attributes.state === STATE.Active) return this.information(object, uuid);
    const hint = `if its deletion was interrupted, delete it again; else ask who revoked it, and why`;
    throw forbidden(this.place, `key ${uuid}, object ${quoted(object.id)}, was revoked`, hint);
  }

  /** @throws KEY_CORRUPT */
  information(object: KeyObject, uuid?: KeyUuid): StoredInformation {
    const read = readInformation(object.attributes, uuid);
    switch (read.kind) {
      case "information":
        return read.information;
      case "damaged":
        throw corrupt(this.place, `object ${quoted(object.id)} ${read.reason}`);
    }
  }
}

/** Be it revoked since. */
export function isFinished({ attributes }: KeyObject): boolean {
  return attributes.state !== STATE.PreActive;
}
