import { type KeyUuid, parseKeyUuid } from "../keystore/key-uuid.js";

/** A LUKS1 header as it is on disk; the reader below is strict. */
export interface LuksHeader {
  readonly version: 1;
  readonly uuid: KeyUuid;
  /** `aes-xts-plain64` */
  readonly cipher: string;
  readonly hash: string;
  /** Bits of the volume key. */
  readonly keySize: number;
  /** Bytes from the start of the LUKS container to the encrypted data. */
  readonly payloadOffset: number;
  /** One for each of the 8 keyslots. */
  readonly keyslots: readonly LuksKeyslot[];
}

export interface LuksKeyslot {
  readonly active: boolean;
  /** PBKDF2 iterations. */
  readonly iterations: number;
  /** Bytes from the start of the LUKS container to the key material. */
  readonly offset: number;
  readonly stripes: number;
}

export type LuksHeaderAnswer =
  | { readonly kind: "luks"; readonly header: LuksHeader }
  /** No LUKS magic. */
  | { readonly kind: "none" }
  | { readonly kind: "bad"; readonly reason: string };

/** Bytes of a container's start that hold the whole header: `struct luks_phdr` has 592 of them, the rest is zero. */
export const LUKS_HEADER_BLOCK = 4096;

/** Bytes from the start of every container that we make to its encrypted data, whatever the size of its volume key. */
export const PAYLOAD_OFFSET = 2 * 1024 * 1024;

const MAGIC = Buffer.from("LUKS\xba\xbe", "latin1");
const HEADER_LENGTH = 592;
const SECTOR = 512;
const UUID = { offset: 168, length: 40 };
const KEYSLOTS = { offset: 208, length: 48, count: 8 };
const KEYSLOT_ACTIVE = 0x00ac71f3;
const KEYSLOT_INACTIVE = 0x0000dead;
const STRIPES = 4000;
/** The floor of cryptsetup and of QEMU, which refuses to open less. */
const LEAST_ITERATIONS = 1000;

/**
 * Reads a LUKS1 header (LUKS On-Disk Format Specification 1.2.3, "PHDR layout") from the first bytes of a container,
 * LUKS_HEADER_BLOCK of them. Never throws. `bad` is everything that QEMU or cryptsetup would refuse or misread.
 */
export function readLuksHeader(bytes: Buffer): LuksHeaderAnswer {
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) return { kind: "none" };
  if (bytes.length < MAGIC.length + 2) return bad("the LUKS header is cut off");
  const version = bytes.readUInt16BE(6);
  if (version !== 1) return bad(`the header is LUKS version ${version}, and only version 1 is supported`);
  if (bytes.length < HEADER_LENGTH) return bad("the LUKS header is cut off");

  const cipherName = textAt(bytes, 8, 32, /^[a-z0-9_]+$/);
  const cipherMode = textAt(bytes, 40, 32, /^[a-z0-9]+(-[a-z0-9:]+)?$/);
  const hash = textAt(bytes, 72, 32, /^[a-z0-9-]+$/);
  if (cipherName === undefined || cipherMode === undefined) return bad("the LUKS header names no cipher");
  if (hash === undefined) return bad("the LUKS header names no hash");
  const uuid = claimedLuksUuid(bytes);
  if (uuid === undefined) return bad("the LUKS header has no valid UUID");

  const payloadOffset = bytes.readUInt32BE(104) * SECTOR;
  const keyBytes = bytes.readUInt32BE(108);
  if (![16, 24, 32, 48, 64].includes(keyBytes)) return bad(`a volume key of ${keyBytes} bytes is impossible`);
  if (bytes.readUInt32BE(164) < LEAST_ITERATIONS)
    return bad("the volume key's digest has too few iterations");

  const keyslots: LuksKeyslot[] = [];
  for (let index = 0; index < KEYSLOTS.count; index++) {
    const keyslot = readKeyslot(bytes, KEYSLOTS.offset + index * KEYSLOTS.length);
    if (typeof keyslot === "string") return bad(`keyslot ${index} ${keyslot}`);
    keyslots.push(keyslot);
  }
  const misplaced = misplacedKeyslot(keyslots, keyBytes * STRIPES, payloadOffset);
  if (misplaced !== undefined) return bad(misplaced);
  if (!keyslots.some((keyslot) => keyslot.active))
    return bad("no keyslot is active, so no passphrase opens it");

  const cipher = `${cipherName}-${cipherMode}`;
  const header = { version, uuid, cipher, hash, keySize: keyBytes * 8, payloadOffset, keyslots } as const;
  return { kind: "luks", header };
}

/**
 * The UUID that a LUKS1 header claims, whatever the rest of it is worth: all of it stands in the header's first
 * sector, so that it tells whose header a power cut tore.
 */
export function claimedLuksUuid(bytes: Buffer): KeyUuid | undefined {
  if (bytes.length < SECTOR || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  const text = textAt(bytes, UUID.offset, UUID.length, /^[0-9A-Fa-f-]+$/);
  return text === undefined ? undefined : parseKeyUuid(text);
}

function readKeyslot(bytes: Buffer, at: number): LuksKeyslot | string {
  const state = bytes.readUInt32BE(at);
  if (state !== KEYSLOT_ACTIVE && state !== KEYSLOT_INACTIVE) return "is neither active nor inactive";
  const active = state === KEYSLOT_ACTIVE;
  const iterations = bytes.readUInt32BE(at + 4);
  if (active && iterations < LEAST_ITERATIONS) return "has too few iterations";
  const stripes = bytes.readUInt32BE(at + 44);
  if (stripes !== STRIPES) return `has ${stripes} stripes instead of ${STRIPES}`;
  return { active, iterations, offset: bytes.readUInt32BE(at + 40) * SECTOR, stripes };
}

/** A keyslot whose key material lies over the header, the payload or another keyslot's, in words. */
function misplacedKeyslot(keyslots: readonly LuksKeyslot[], length: number, payloadOffset: number) {
  for (const [index, { offset }] of keyslots.entries()) {
    if (offset < HEADER_LENGTH) return `keyslot ${index} lies over the header`;
    if (offset + length > payloadOffset) return `keyslot ${index} lies over the payload`;
    const other = keyslots.findIndex((k, i) => i > index && Math.abs(k.offset - offset) < length);
    if (other !== -1) return `keyslots ${index} and ${other} lie over each other`;
  }
  return undefined;
}

/** A NUL-terminated text of at most `length` bytes that `shape` matches. */
function textAt(bytes: Buffer, offset: number, length: number, shape: RegExp): string | undefined {
  const field = bytes.subarray(offset, offset + length);
  const end = field.indexOf(0);
  const text = field.toString("latin1", 0, end);
  return end !== -1 && shape.test(text) ? text : undefined;
}

function bad(reason: string): LuksHeaderAnswer {
  return { kind: "bad", reason };
}
