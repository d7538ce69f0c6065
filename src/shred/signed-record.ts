import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  verify,
} from "node:crypto";
import type { Actor } from "../audit/entry.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { createFile, makeDirectory } from "../fs/atomic-file.js";
import { PRIVATE_DIRECTORY, PRIVATE_FILE, readGuardedFile } from "../fs/guarded-file.js";
import { dirname } from "node:path";
import type { ShredNote } from "./shred-notes.js";

/** What was destroyed, when and by whom. */
export interface ShredRecord extends Omit<ShredNote, "overwriting" | "volume"> {
  readonly volume: string;
  readonly host: string;
  /** RFC 3339, UTC. */
  readonly endedAt: string;
  readonly by: Actor;
  /** SHA-256 of the bytes that stand in the header's place, read back after they were synced. */
  readonly overwrittenWith: string;
}

interface SignedRecord {
  readonly record: ShredRecord;
  /** Ed25519 over the record's JSON text, base64. */
  readonly signature: string;
  /** Of the host, PEM. */
  readonly publicKey: string;
}

const SIGNING_KEY = "/var/lib/luksmith/signing-key";
const LIMIT = 64 * 1024;

/** The record as a file, signed with the host's key, which is made where there is none. @throws PERMISSIONS_UNSAFE */
export function signRecord(record: ShredRecord, keyPath = SIGNING_KEY): string {
  const privateKey = createPrivateKey(hostKey(keyPath));
  const signature = sign(null, Buffer.from(JSON.stringify(record)), privateKey).toString("base64");
  const signed: SignedRecord = { record, signature, publicKey: publicPem(privateKey) };
  return `${JSON.stringify(signed, undefined, 2)}\n`;
}

/** PEM. Made at the first use. @throws PERMISSIONS_UNSAFE */
export function hostPublicKey(keyPath = SIGNING_KEY): string {
  return publicPem(createPrivateKey(hostKey(keyPath)));
}

/** PEM; undefined where this host has signed nothing yet. @throws PERMISSIONS_UNSAFE */
export function knownPublicKey(keyPath = SIGNING_KEY): string | undefined {
  const there = readGuardedFile(keyPath, PRIVATE_FILE, LIMIT);
  return there && publicPem(createPrivateKey(there));
}

/**
 * The record in a file that the holder of `publicKey` has signed. @throws AUDIT_BROKEN
 * @param publicKey PEM; what the file itself brings proves nothing
 */
export function verifyRecord(text: string, publicKey: string): ShredRecord {
  const signed = parse(text);
  if (signed === undefined) throw broken("it is no signed record of luksmith");
  const { record, signature, publicKey: own } = signed;
  const key = publicKeyOf(publicKey);
  if (fingerprintOf(own) !== fingerprintOf(publicKey)) throw broken("another host has signed it");
  const isRight = verify(null, Buffer.from(JSON.stringify(record)), key, Buffer.from(signature, "base64"));
  if (!isRight) throw broken("the signature is not of this record");
  return record;
}

/** To be compared by people: SHA-256 of the key, hexadecimal. */
export function fingerprintOf(pem: string): string {
  return createHash("sha256")
    .update(publicKeyOf(pem).export({ type: "spki", format: "der" }))
    .digest("hex");
}

function hostKey(path: string): string {
  const there = readGuardedFile(path, PRIVATE_FILE, LIMIT);
  if (there !== undefined) return there.toString();
  makeDirectory(dirname(path), PRIVATE_DIRECTORY.mode);
  const { privateKey } = generateKeyPairSync("ed25519");
  createFile(path, Buffer.from(privateKey.export({ type: "pkcs8", format: "pem" })), PRIVATE_FILE.mode);
  // of two that made one, the first one's is there
  return readGuardedFile(path, PRIVATE_FILE, LIMIT)?.toString() ?? hostKey(path);
}

function publicPem(privateKey: ReturnType<typeof createPrivateKey>): string {
  return createPublicKey(privateKey).export({ type: "spki", format: "pem" }).toString();
}

function publicKeyOf(pem: string) {
  try {
    const key = createPublicKey(pem);
    if (key.asymmetricKeyType === "ed25519") return key;
  } catch (thrown) {
    throw broken("its public key is none", thrown);
  }
  throw broken("its public key is not one of Ed25519");
}

function parse(text: string): SignedRecord | undefined {
  try {
    const { record, signature, publicKey } = JSON.parse(text) as Partial<SignedRecord>;
    if (typeof record !== "object" || typeof signature !== "string" || typeof publicKey !== "string")
      return undefined;
    return { record, signature, publicKey };
  } catch {
    return undefined;
  }
}

function broken(why: string, cause?: unknown): LuksmithError {
  return new LuksmithError("AUDIT_BROKEN", {
    what: "the record is not what this host has signed",
    why,
    hint: "for another host's record, give its public key: --public-key FILE",
    cause,
  });
}
