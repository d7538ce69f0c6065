import type { KeyRecord } from "../../generated/key-record.js";
import isKeyRecord from "../../generated/validate-key-record.cjs";
import type { KeyUuid } from "../key-uuid.js";
import type { ObjectAttributes } from "./attributes.js";

/** The namespace of our application specific information. */
export const NAMESPACE = "luksmith";

/** What is kept beside a passphrase, in its object's application specific information. */
export interface StoredInformation {
  /** Chosen by whoever registered the object: tells him it is his when the server's answer is lost. */
  readonly writer: string;
  readonly record: KeyRecord;
}

/** `reason` completes "the object …". */
export type Read =
  | { readonly kind: "information"; readonly information: StoredInformation }
  | { readonly kind: "damaged"; readonly reason: string };

/** ASCII, since servers differ in what other text they keep; JSON escapes all else, lone surrogates too. */
export function informationText({ writer, record }: StoredInformation): string {
  return JSON.stringify({ version: 1, writer, record }).replace(
    /[^\x20-\x7e]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** What an object has under our namespace, with its place among what others have put there. */
export function informationIn({
  information,
}: ObjectAttributes): ObjectAttributes["information"][number] | undefined {
  return information.find(({ namespace }) => namespace === NAMESPACE);
}

/** @param uuid that the object's name has, where it is known */
export function readInformation(attributes: ObjectAttributes, uuid?: KeyUuid): Read {
  const text = informationIn(attributes)?.data;
  if (text === undefined) return damaged(`has no application specific information of ${NAMESPACE}`);
  const value = parseJson(text);
  if (!isStored(value)) return damaged("has a record that is not understood");
  if (uuid !== undefined && value.record.uuid !== uuid) return damaged("has the record of another key");
  return { kind: "information", information: { writer: value.writer, record: value.record } };
}

/** Whether the object says that it belongs to the key, be its record understood or not. */
export function isMarkedAs(uuid: KeyUuid, attributes: ObjectAttributes): boolean {
  const value = parseJson(informationIn(attributes)?.data ?? "");
  if (typeof value !== "object" || value === null || !("record" in value)) return false;
  const { record } = value;
  return typeof record === "object" && record !== null && "uuid" in record && record.uuid === uuid;
}

function isStored(value: unknown): value is { version: 1; writer: string; record: KeyRecord } {
  if (typeof value !== "object" || value === null) return false;
  if (!("version" in value && "writer" in value && "record" in value)) return false;
  return value.version === 1 && typeof value.writer === "string" && isKeyRecord(value.record);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function damaged(reason: string): Read {
  return { kind: "damaged", reason };
}
