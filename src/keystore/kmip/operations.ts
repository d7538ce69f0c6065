import type { Secret } from "../../secret/secret.js";
import {
  type Attribute,
  filter,
  newAttributes,
  type ObjectAttributes,
  readAttributes,
  references,
  replacement,
} from "./attributes.js";
import { all, enumeration, optional, required, structure, text } from "./fields.js";
import { type ManagedObject, passphraseOf } from "./managed-object.js";
import {
  OPERATION,
  type OperationName,
  QUERY_OPERATIONS,
  REVOCATION_CESSATION_OF_OPERATION,
  TAG,
} from "./tags.js";
import { type Item, TtlvError } from "./ttlv.js";
import { type Version, VERSIONS, versionItem, versionText } from "./versions.js";

/** Something that a server is asked to do. KMIP 1.4, section 4. */
export interface Operation<T> {
  readonly name: OperationName;
  /**
   * What may be done when the answer is lost. A `read` or a `change` is asked again, since a second time changes nothing
   * more, though a change may then be refused; it shares messages with others. Nobody knows of `once` whether it was done.
   */
  readonly manner: "read" | "change" | "once";
  payload(version: Version): Item[];
  /** @throws TtlvError if the answer is not one to this operation */
  parse(payload: readonly Item[], version: Version): T;
}

/** @returns the new object's id */
export function register(object: ManagedObject, attributes: readonly Attribute[]): Operation<string> {
  return {
    name: "Register",
    manner: "once",
    payload: (version) => [
      enumeration(TAG.ObjectType, object.type),
      newAttributes(version, attributes),
      object.item(),
    ],
    parse: (payload) => required(payload, TAG.UniqueIdentifier, "text"),
  };
}

/** The ids of all objects that have the attribute; a server that lists only some of them is not believed. */
export function locate(attribute: Attribute): Operation<readonly string[]> {
  return {
    name: "Locate",
    manner: "read",
    payload: (version) => [filter(version, attribute)],
    parse: (payload) => {
      const ids = all(payload, TAG.UniqueIdentifier, "text");
      const found = optional(payload, TAG.LocatedItems, "integer") ?? 0;
      // what is not listed would seem not to be there
      if (found > ids.length) throw new TtlvError(`it lists ${ids.length} of ${found} objects`);
      return [...new Set(ids)];
    },
  };
}

/** The passphrase that an object is; whoever asked disposes of it. */
export function get(id: string): Operation<Secret> {
  return {
    name: "Get",
    manner: "read",
    payload: () => [text(TAG.UniqueIdentifier, id)],
    parse: (payload) => passphraseOf(payload, id),
  };
}

export function getAttributes(id: string): Operation<ObjectAttributes> {
  return {
    name: "Get Attributes",
    manner: "read",
    payload: (version) => [text(TAG.UniqueIdentifier, id), ...references(version)],
    parse: (payload, version) => readAttributes(version, payload),
  };
}

/** Replaces what the object has under a namespace of its application specific information. */
export function modifyAttribute(
  id: string,
  current: ObjectAttributes["information"][number],
  changed: string,
): Operation<void> {
  return {
    name: "Modify Attribute",
    manner: "change",
    payload: (version) => [text(TAG.UniqueIdentifier, id), ...replacement(version, current, changed)],
    parse: () => undefined,
  };
}

export function activate(id: string): Operation<void> {
  return change("Activate", text(TAG.UniqueIdentifier, id));
}

export function revoke(id: string): Operation<void> {
  const reason = enumeration(TAG.RevocationReasonCode, REVOCATION_CESSATION_OF_OPERATION);
  return change("Revoke", text(TAG.UniqueIdentifier, id), structure(TAG.RevocationReason, reason));
}

export function destroy(id: string): Operation<void> {
  return change("Destroy", text(TAG.UniqueIdentifier, id));
}

/** The names of the operations of ours that the server says it has. */
export function queryOperations(): Operation<readonly string[]> {
  return {
    name: "Query",
    manner: "read",
    payload: () => [enumeration(TAG.QueryFunction, QUERY_OPERATIONS)],
    parse: (payload) => {
      const codes = new Set(all(payload, TAG.Operation, "enumeration"));
      return Object.entries(OPERATION).flatMap(([name, code]) => (codes.has(code) ? [name] : []));
    },
  };
}

/** The versions that the server speaks, of those that we do. */
export function discoverVersions(): Operation<readonly string[]> {
  return {
    name: "Discover Versions",
    manner: "read",
    payload: () => VERSIONS.map(versionItem),
    parse: (payload) => all(payload, TAG.ProtocolVersion, "structure").map(versionText),
  };
}

function change(name: OperationName, ...payload: Item[]): Operation<void> {
  return { name, manner: "change", payload: () => payload, parse: () => undefined };
}
