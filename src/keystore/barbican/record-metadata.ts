import type { KeyRecord } from "../../generated/key-record.js";
import isKeyRecord from "../../generated/validate-key-record.cjs";
import type { KeyUuid } from "../key-uuid.js";

/** A secret's user metadata, whose values Barbican's database cuts or refuses beyond 255 characters. */
export type Metadata = Readonly<Record<string, string>>;

/** What metadata held; `reason` completes the sentence "its metadata …". */
export type Parsed =
  | { readonly kind: "record"; readonly record: KeyRecord }
  | { readonly kind: "damaged"; readonly reason: string };

const LONGEST = 255;
const KEY = /^luksmith-[0-9]{3}$/;

/** `record` as JSON in pieces, under `luksmith-000` and so on. */
export function toMetadata(record: KeyRecord): Metadata {
  const pieces = asciiJson(record).match(new RegExp(`.{1,${LONGEST}}`, "g")) ?? [];
  return Object.fromEntries(pieces.map((piece, index) => [keyOf(index), piece]));
}

/** What others have written beside our record. */
export function othersIn(metadata: Metadata): Metadata {
  return Object.fromEntries(Object.entries(metadata).filter(([key]) => !KEY.test(key)));
}

export function recordIn(metadata: Metadata, uuid: KeyUuid): Parsed {
  const keys = Object.keys(metadata).filter((key) => KEY.test(key));
  if (keys.length === 0) return damaged("has no record of a key");
  const pieces = keys.map((_, index) => metadata[keyOf(index)]);
  if (pieces.includes(undefined)) return damaged("lacks a piece of the record");
  const record = parseJson(pieces.join(""));
  if (record === undefined) return damaged("is not JSON");
  if (!isKeyRecord(record)) {
    const error = isKeyRecord.errors?.[0];
    return damaged(`is not a key record: ${error?.instancePath ?? ""} ${error?.message ?? ""}`);
  }
  if ((record as KeyRecord).uuid !== uuid) return damaged(`is of the key ${(record as KeyRecord).uuid}`);
  return { kind: "record", record: record as KeyRecord };
}

function keyOf(index: number): string {
  return `luksmith-${String(index).padStart(3, "0")}`;
}

/**
 * JSON in printable ASCII without blanks: Barbican takes white space from both ends of what it is given, and not every
 * database keeps every character.
 */
function asciiJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[^!-~]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function damaged(reason: string): Parsed {
  return { kind: "damaged", reason };
}
