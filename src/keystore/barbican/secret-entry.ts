import { type KeyUuid, parseKeyUuid } from "../key-uuid.js";
import { badAnswer, type Place } from "../remote/failures.js";
import { isObject } from "./barbican-client.js";

/** What Barbican tells of a secret without its payload. */
export interface SecretEntry {
  /** Barbican's own id of it. */
  readonly id: string;
  /** The key that it is, if it is one of Luksmith's. */
  readonly uuid: KeyUuid | undefined;
  /** Of its payload; undefined while it has none: then it is nobody's key. */
  readonly contentType: string | undefined;
  /** RFC 3339 without a zone, by Barbican's clock in UTC. */
  readonly created: string;
  /** Undefined if Barbican was not asked for them, or does not know consumers of secrets. */
  readonly consumers: readonly Consumer[] | undefined;
}

/** Somebody who has told Barbican that he uses a secret. */
export interface Consumer {
  readonly service: string;
  readonly resource_type: string;
  readonly resource_id: string;
}

const MARK = "luksmith:";

/**
 * What makes a secret findable by its key's UUID: its mode, which Barbican keeps as any text of a user, and filters by.
 * Its algorithm would be as good, but some of Barbican's back ends refuse algorithms that they do not know.
 */
export function modeOf(uuid: KeyUuid): string {
  return `${MARK}${uuid}`;
}

/** @throws KEYSTORE_ANSWER_INVALID */
export function parseEntry(place: Place, value: unknown): SecretEntry {
  if (!isObject(value)) throw badAnswer(place, "a secret in its list is not an object");
  const { secret_ref: ref, mode, content_types: types, created, consumers } = value;
  return {
    id: idIn(place, ref),
    uuid: keyUuidIn(mode),
    contentType: isObject(types) && typeof types["default"] === "string" ? types["default"] : undefined,
    created: typeof created === "string" ? created : "",
    consumers: Array.isArray(consumers)
      ? consumers.map((consumer) => parseConsumer(place, consumer))
      : undefined,
  };
}

/** The id at the end of a reference; the rest is the address that Barbican believes to have. */
export function idIn(place: Place, ref: unknown): string {
  const id = typeof ref === "string" ? parseKeyUuid(ref.slice(ref.lastIndexOf("/") + 1)) : undefined;
  if (id === undefined) throw badAnswer(place, "a secret in it has no id");
  return id;
}

function keyUuidIn(mode: unknown): KeyUuid | undefined {
  if (typeof mode !== "string" || !mode.startsWith(MARK)) return undefined;
  const uuid = parseKeyUuid(mode.slice(MARK.length));
  return uuid !== undefined && mode === modeOf(uuid) ? uuid : undefined;
}

function parseConsumer(place: Place, value: unknown): Consumer {
  if (!isObject(value)) throw badAnswer(place, "a consumer in it is not an object");
  const { service, resource_type, resource_id } = value;
  return { service: String(service), resource_type: String(resource_type), resource_id: String(resource_id) };
}
