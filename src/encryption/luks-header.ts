import type { KeyUuid } from "../keystore/key-uuid.js";
import { LUKS_MAGIC, luksUuidAt, versionAt } from "./luks-field.js";
import { readLuks1Header } from "./luks1-header.js";
import { luks2CopiesLength, readLuks2Header } from "./luks2-header.js";
import type { EncryptionFormat } from "./luks-spec.js";

/** A LUKS header as it is on disk; the readers are strict. */
export type LuksHeader = Luks1Header | Luks2Header;

interface LuksHeaderFields {
  readonly uuid: KeyUuid;
  /** `aes-xts-plain64` */
  readonly cipher: string;
  /** Of the volume key's digest. */
  readonly hash: string;
  /** Bits of the volume key. */
  readonly keySize: number;
  /** Bytes from the start of the LUKS container to the encrypted data. */
  readonly payloadOffset: number;
  /** LUKS1: one for each of the 8 keyslots. LUKS2: those that hold the volume key, all of them active. */
  readonly keyslots: readonly LuksKeyslot[];
}

export interface Luks1Header extends LuksHeaderFields {
  readonly version: 1;
}

export interface Luks2Header extends LuksHeaderFields {
  readonly version: 2;
  /** Bytes of each of the two copies at the container's start, binary header and JSON together. */
  readonly copySize: number;
  /** Bytes that are encrypted at once: the payload ends with the last whole sector. */
  readonly sectorSize: number;
}

export interface LuksKeyslot {
  readonly active: boolean;
  /** Of PBKDF2; Argon2's time cost. */
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

/**
 * Bytes of a container's start that hold all of a LUKS1 header, whose `struct luks_phdr` has 592 of them and the rest
 * is zero, and the binary part of LUKS2's first copy. The UUID stands in their first sector, in both.
 */
export const LUKS_HEADER_BLOCK = 4096;

/** Bytes from the start of every container that we make to its encrypted data, whatever the size of its volume key. */
export const PAYLOAD_OFFSET = 2 * 1024 * 1024;

/**
 * Bytes of a container's start that `readLuksHeader` has to see.
 * @param start the first LUKS_HEADER_BLOCK of them
 */
export function luksHeaderLength(start: Buffer): number {
  return versionAt(start) === 2 ? luks2CopiesLength(start) : LUKS_HEADER_BLOCK;
}

/**
 * Reads a LUKS header from the first `luksHeaderLength` bytes of a container. Never throws. `bad` is everything that
 * QEMU or cryptsetup would refuse or misread, and what would take them out of all proportion to open.
 * @param formats of the storage: version 2 is bad where `luksv2` is not among them
 */
export function readLuksHeader(bytes: Buffer, formats: readonly EncryptionFormat[]): LuksHeaderAnswer {
  if (!bytes.subarray(0, LUKS_MAGIC.length).equals(LUKS_MAGIC)) return { kind: "none" };
  const version = versionAt(bytes);
  if (version === undefined) return bad("the LUKS header is cut off");
  if (version === 1) return answer(readLuks1Header(bytes));
  if (version !== 2) return bad(`the LUKS header is of version ${version}, which nobody knows`);
  if (formats.includes("luksv2")) return answer(readLuks2Header(bytes));
  return bad("the LUKS header is of version 2: only dm-crypt opens that, and it does not reach this volume");
}

/**
 * The UUID that a LUKS header claims, whatever the rest of it is worth: all of it stands in the header's first
 * sector, so that it tells whose header a power cut tore.
 */
export function claimedLuksUuid(bytes: Buffer): KeyUuid | undefined {
  return versionAt(bytes) === undefined ? undefined : luksUuidAt(bytes);
}

/** Where in a container its header and the key material of its active keyslots stand. */
export function luksAreas(header: LuksHeader): readonly LuksArea[] {
  const keyslots = header.keyslots
    .filter(({ active }) => active)
    .map(({ offset, stripes }) => ({ offset, length: (header.keySize / 8) * stripes }));
  return [{ offset: 0, length: header.version === 1 ? LUKS_HEADER_BLOCK : 2 * header.copySize }, ...keyslots];
}

export interface LuksArea {
  readonly offset: number;
  readonly length: number;
}

function answer(read: LuksHeader | string): LuksHeaderAnswer {
  return typeof read === "string" ? bad(read) : { kind: "luks", header: read };
}

function bad(reason: string): LuksHeaderAnswer {
  return { kind: "bad", reason };
}
