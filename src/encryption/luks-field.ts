import { type KeyUuid, parseKeyUuid } from "../keystore/key-uuid.js";

/** At a container's start, in both versions; all numbers in a header are big-endian. */
export const LUKS_MAGIC = Buffer.from("LUKS\xba\xbe", "latin1");

const SECTOR = 512;
const UUID = { offset: 168, length: 40 };

/** What both versions demand of a volume key, in bytes. */
export const KEY_LENGTHS: readonly number[] = [16, 24, 32, 48, 64];
/** Into how many pieces the anti-forensic splitter makes a volume key. */
export const STRIPES = 4000;
/** The floor of cryptsetup and of QEMU, which refuses to open less. */
export const LEAST_ITERATIONS = 1000;
/**
 * Of PBKDF2: some ten seconds, far more than a passphrase of a person needs. Who can write a header must not make the
 * start of its guest burn the host's time and memory.
 */
export const MOST_ITERATIONS = 50_000_000;

/** The version that a header with LUKS's magic claims; undefined for anything else, and for one that is cut off. */
export function versionAt(bytes: Buffer): number | undefined {
  if (bytes.length < LUKS_MAGIC.length + 2) return undefined;
  return bytes.subarray(0, LUKS_MAGIC.length).equals(LUKS_MAGIC) ? bytes.readUInt16BE(6) : undefined;
}

/** The UUID in the first sector of a header. */
export function luksUuidAt(bytes: Buffer): KeyUuid | undefined {
  if (bytes.length < SECTOR) return undefined;
  const text = textAt(bytes, UUID.offset, UUID.length, /^[0-9A-Fa-f-]+$/);
  return text === undefined ? undefined : parseKeyUuid(text);
}

/** Puts a UUID where `luksUuidAt` finds it. */
export function writeLuksUuid(header: Buffer, uuid: KeyUuid): void {
  header.fill(0, UUID.offset, UUID.offset + UUID.length);
  header.write(uuid, UUID.offset, "latin1");
}

/** A NUL-terminated text of at most `length` bytes that `shape` matches. */
export function textAt(bytes: Buffer, offset: number, length: number, shape: RegExp): string | undefined {
  const field = bytes.subarray(offset, offset + length);
  const end = field.indexOf(0);
  const text = field.toString("latin1", 0, end);
  return end !== -1 && shape.test(text) ? text : undefined;
}

/** cryptsetup's cipher that leaves everything as it is; who can write a header could put it there. */
export function isNullCipher(cipher: string): boolean {
  return /(^|[^a-z])(?:cipher_)?null([^a-z]|$)/.test(cipher);
}
