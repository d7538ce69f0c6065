import { createCipheriv, createDecipheriv, createHmac, randomBytes } from "node:crypto";
import type { KeyRecord } from "../../generated/key-record.js";
import type { StoredKey } from "../../generated/stored-key.js";
import isStoredKey from "../../generated/validate-stored-key.cjs";
import { Secret } from "../../secret/secret.js";
import type { Key } from "../keystore.js";
import type { KeyUuid } from "../key-uuid.js";

const ALGORITHM = "aes-256-gcm";
const IV_BYTES = 12;
const TAG_BYTES = 16;

/** Bytes of a file at most; a key has less than 1 KiB besides the names of its guest and volume. */
export const STORED_KEY_LIMIT = 256 * 1024;

/** What a file held; `reason` completes the sentence "the file …". */
export type Parsed =
  | { readonly kind: "key"; readonly stored: StoredKey }
  | { readonly kind: "damaged"; readonly reason: string };

/** The bytes of the file that keeps `key`, under a fresh random IV. */
export function seal(key: Key, masterKey: Secret): Buffer {
  return Buffer.from(`${JSON.stringify(sealKey(key, masterKey))}\n`);
}

/** What else is to be true when the key is opened: it is vouched for and kept by somebody else. */
export type Context = Readonly<Record<string, string | number>>;

/** `key` under a fresh random IV. Opens with the same context only. */
export function sealKey({ record, passphrase }: Key, masterKey: Secret, context?: Context): StoredKey {
  const iv = randomBytes(IV_BYTES);
  const cipher = masterKey.use((bytes) => createCipheriv(ALGORITHM, bytes, iv, { authTagLength: TAG_BYTES }));
  const masterKeyId = masterKeyIdOf(masterKey);
  cipher.setAAD(additionalData(record, masterKeyId, context));
  const ciphertext = passphrase.use((bytes) => Buffer.concat([cipher.update(bytes), cipher.final()]));
  return {
    version: 1,
    algorithm: ALGORITHM,
    masterKey: masterKeyId,
    record,
    iv: iv.toString("base64"),
    ciphertext: ciphertext.toString("base64"),
    tag: cipher.getAuthTag().toString("base64"),
  };
}

/** Reads the form and not the truth: until `open` succeeds, nobody has vouched for the record. */
export function parse(bytes: Buffer, uuid: KeyUuid): Parsed {
  if (bytes.length > STORED_KEY_LIMIT) return damaged(`has more than ${STORED_KEY_LIMIT} bytes`);
  const value = parseJson(bytes);
  if (value === undefined) return damaged("is not JSON");
  if (!isStoredKey(value)) {
    const error = isStoredKey.errors?.[0];
    return damaged(`is not a stored key: ${error?.instancePath ?? ""} ${error?.message ?? ""}`);
  }
  const stored = value as StoredKey;
  if (stored.record.uuid !== uuid) return damaged(`holds the key ${stored.record.uuid}`);
  return { kind: "key", stored };
}

/** The passphrase, or undefined if anything in the file was changed; `masterKey` is the one that the file names. */
export function open(stored: StoredKey, masterKey: Secret, context?: Context): Secret | undefined {
  const iv = Buffer.from(stored.iv, "base64");
  const decipher = masterKey.use((bytes) =>
    createDecipheriv(ALGORITHM, bytes, iv, { authTagLength: TAG_BYTES }),
  );
  decipher.setAAD(additionalData(stored.record, stored.masterKey, context));
  decipher.setAuthTag(Buffer.from(stored.tag, "base64"));
  const plaintext = decipher.update(Buffer.from(stored.ciphertext, "base64"));
  try {
    // in GCM this returns nothing: it compares the tag
    decipher.final();
    return Secret.own(plaintext);
  } catch {
    plaintext.fill(0);
    return undefined;
  }
}

/** Tells one master key from another, and nothing else about it. */
export function masterKeyIdOf(masterKey: Secret): string {
  const digest = masterKey.use((bytes) =>
    createHmac("sha256", bytes).update("luksmith master key id").digest("hex"),
  );
  return digest.slice(0, 16);
}

/** What the tag vouches for beside the passphrase: the same bytes whatever the order of the file's members. */
function additionalData(record: KeyRecord, masterKey: string, context: Context | undefined): Buffer {
  // JSON leaves out what is undefined
  const data = { version: 1, algorithm: ALGORITHM, masterKey, record, context };
  return Buffer.from(JSON.stringify(data, sortMembers));
}

function sortMembers(_member: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function parseJson(bytes: Buffer): unknown {
  try {
    // without `fatal`, different damaged bytes would read as the same replacement character
    return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    return undefined;
  }
}

function damaged(reason: string): Parsed {
  return { kind: "damaged", reason };
}
