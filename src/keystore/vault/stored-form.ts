import type { KeyRecord } from "../../generated/key-record.js";
import isKeyRecord from "../../generated/validate-key-record.cjs";
import { base64 } from "../../secret/base64.js";
import { Secret } from "../../secret/secret.js";
import type { Key } from "../keystore.js";
import type { KeyUuid } from "../key-uuid.js";
import { isPlainText, takeText } from "./json-bytes.js";

const PASSPHRASE = "passphrase";

/**
 * The body of a KV write that stores `key`; its bytes hold the passphrase, and the caller wipes them. The members:
 *
 * - `passphrase`: what an administrator needs in an emergency, as it is where it is printable ASCII, which those made
 *   by Luksmith are; else in base64, and `encoding` says so.
 * - `record`: the key record as JSON text and not as an object: the server would replace half a surrogate pair.
 */
export function writeBody({ record, passphrase }: Key, cas: number): Buffer {
  const text = JSON.stringify(JSON.stringify(record));
  return passphrase.use((bytes) => {
    const plain = isPlainText(bytes);
    const encoded = plain ? bytes : base64(bytes);
    const encoding = plain ? "" : `"encoding":"base64",`;
    const body = Buffer.concat([
      Buffer.from(`{"options":{"cas":${cas}},"data":{"record":${text},${encoding}"${PASSPHRASE}":"`),
      encoded,
      Buffer.from(`"}}`),
    ]);
    if (!plain) encoded.fill(0);
    return body;
  });
}

/** Whether `readStored` would take back what `writeBody` writes. */
export function isStorable({ record, passphrase }: Key, uuid: KeyUuid): boolean {
  return isKeyRecord(record) && record.uuid === uuid && passphrase.length > 0;
}

/** What a KV read brought; `reason` completes the sentence "what is stored …". */
export type Stored =
  { readonly kind: "key"; readonly key: Key } | { readonly kind: "damaged"; readonly reason: string };

/**
 * Takes the passphrase out of the bytes of an answer, which has asterisks in its place then.
 * @returns what to give to `readStored` together with the parsed answer; the caller wipes it
 */
export function takePassphrase(body: Buffer): Buffer | undefined {
  return takeText(body, PASSPHRASE);
}

/**
 * @param data the member `data.data` of the answer
 * @param taken what `takePassphrase` took out of it
 */
export function readStored(
  data: Readonly<Record<string, unknown>>,
  taken: Buffer | undefined,
  uuid: KeyUuid,
): Stored {
  const { record: text, passphrase, encoding } = data;
  if (typeof passphrase !== "string") return damaged("has no passphrase");
  const record = readRecord(text);
  if (record === undefined) return damaged("has no key record");
  if (record.uuid !== uuid) return damaged(`is the key ${record.uuid}`);
  // what the parser had to read, because somebody has written it by hand, stays in memory as a string
  const bytes = decode(taken ?? Buffer.from(passphrase), encoding);
  if (bytes === undefined) return damaged("has a passphrase in an unknown encoding");
  if (bytes.length === 0) return damaged("has an empty passphrase");
  return { kind: "key", key: { record, passphrase: Secret.own(bytes) } };
}

function readRecord(text: unknown): KeyRecord | undefined {
  if (typeof text !== "string") return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return isKeyRecord(value) ? (value as KeyRecord) : undefined;
  } catch {
    return undefined;
  }
}

function decode(bytes: Buffer, encoding: unknown): Buffer | undefined {
  if (encoding === undefined) return Buffer.from(bytes);
  if (encoding !== "base64") return undefined;
  const decoded = Buffer.from(bytes.toString("latin1"), "base64");
  // Node reads what is not base64 as well as it can: a passphrase must come back exactly or not at all
  const again = base64(decoded);
  const exact = again.equals(bytes);
  again.fill(0);
  return exact ? decoded : undefined;
}

function damaged(reason: string): Stored {
  return { kind: "damaged", reason };
}
