import { createHash } from "node:crypto";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { LuksArea, Luks2Header } from "./luks-header.js";
import { LUKS_MAGIC, luksUuidAt, textAt, writeLuksUuid } from "./luks-field.js";
import { JsonObject } from "./luks2-json.js";
import { readKeyslots } from "./luks2-keyslots.js";
import { readLuks2Metadata } from "./luks2-metadata.js";

const SECOND_MAGIC = Buffer.from("SKUL\xba\xbe", "latin1");
/** Bytes of the binary header; the JSON area is the rest of a copy. */
const BINARY = 4096;
const CHECKSUM = { offset: 448, length: 64 };
const HASHES = ["sha1", "sha256", "sha384", "sha512"];

/** What cryptsetup makes where it is not told, and we ask for. */
export const COPY_SIZE = 16 * 1024;
/** All that the format allows: 16 KiB to 4 MiB. */
const COPY_SIZES: ReadonlySet<bigint> = new Set(
  Array.from({ length: 9 }, (_, power) => BigInt(COPY_SIZE) << BigInt(power)),
);

/**
 * Bytes of both copies of the header, as the first one says; where what it says is impossible, of two copies of the
 * usual size, so that at least the second can be looked at.
 */
export function luks2CopiesLength(start: Buffer): number {
  return 2 * (copySizeAt(start) ?? COPY_SIZE);
}

/**
 * Reads a header of LUKS version 2 (LUKS2 On-Disk Format Specification 1.1.1), both copies of it. The one with the higher
 * sequence number counts, as for cryptsetup. A damaged first copy is never read past: cryptsetup would write to the
 * volume to mend it, which is for a person to decide.
 * @returns it, or why it cannot be used
 */
export function readLuks2Header(bytes: Buffer): Luks2Header | string {
  const copySize = copySizeAt(bytes) ?? COPY_SIZE;
  const first = readCopy(bytes, 0, LUKS_MAGIC);
  const second = readCopy(bytes, copySize, SECOND_MAGIC);
  if (typeof first === "string") {
    return typeof second === "string"
      ? `the LUKS header ${first}`
      : `the LUKS header ${first}; its second copy is whole: run cryptsetup repair`;
  }
  if (typeof second === "string") return first.header;
  if (second.header.uuid !== first.header.uuid)
    return `the two copies of the LUKS header have different UUIDs; run cryptsetup repair`;
  return second.sequence > first.sequence ? second.header : first.header;
}

/**
 * Both copies of the header under another UUID, each as it has to be written. None for what `readLuks2Header` refuses.
 * @param bytes as for `readLuks2Header`
 */
export function renamedLuks2Copies(bytes: Buffer, uuid: KeyUuid): readonly [first: Buffer, second: Buffer] {
  const copySize = copySizeAt(bytes) ?? COPY_SIZE;
  const at = currentCopy(bytes);
  const current = bytes.subarray(at, at + copySize);
  const sequence = current.readBigUInt64BE(16) + 1n;
  return [renamedCopy(current, uuid, sequence, 0), renamedCopy(current, uuid, sequence, copySize)];
}

/** The areas of the keyslots, of whatever key, by their numbers. @param bytes that `readLuks2Header` accepts */
export function luks2KeyslotAreas(bytes: Buffer): ReadonlyMap<number, LuksArea> {
  const at = currentCopy(bytes);
  const copySize = copySizeAt(bytes) ?? COPY_SIZE;
  const keyslots = JsonObject.parse(bytes.subarray(at + BINARY, at + copySize)).object("keyslots");
  const room = { start: 2 * copySize, end: bytes.length };
  const entries = [...readKeyslots(keyslots, room)];
  return new Map(entries.map(([name, { offset, length }]) => [Number(name), { offset, length }]));
}

/** Where the copy begins that counts. */
function currentCopy(bytes: Buffer): number {
  const copySize = copySizeAt(bytes) ?? COPY_SIZE;
  const [first, second] = [readCopy(bytes, 0, LUKS_MAGIC), readCopy(bytes, copySize, SECOND_MAGIC)];
  if (typeof second === "string" || typeof first === "string") return 0;
  return second.sequence > first.sequence ? copySize : 0;
}

function renamedCopy(current: Buffer, uuid: KeyUuid, sequence: bigint, at: number): Buffer {
  const copy = Buffer.from(current);
  (at === 0 ? LUKS_MAGIC : SECOND_MAGIC).copy(copy);
  copy.writeBigUInt64BE(sequence, 16);
  copy.writeBigUInt64BE(BigInt(at), 256);
  writeLuksUuid(copy, uuid);
  const hash = textAt(copy, 72, 32, /^[a-z0-9-]+$/) ?? "sha256";
  copy.fill(0, CHECKSUM.offset, CHECKSUM.offset + CHECKSUM.length);
  checksumOf(copy, hash).copy(copy, CHECKSUM.offset);
  return copy;
}

interface Copy {
  /** Grows with each change. */
  readonly sequence: bigint;
  readonly header: Luks2Header;
}

function readCopy(bytes: Buffer, at: number, magic: Buffer): Copy | string {
  const copySize = copySizeAt(bytes.subarray(at));
  if (copySize === undefined) return "has an impossible size";
  const copy = bytes.subarray(at, at + copySize);
  if (copy.length < copySize) return "is cut off";
  if (!copy.subarray(0, magic.length).equals(magic) || copy.readUInt16BE(6) !== 2)
    return "is not of version 2";
  if (copy.readBigUInt64BE(256) !== BigInt(at)) return "stands where it does not belong";
  const hash = textAt(copy, 72, 32, /^[a-z0-9-]+$/);
  if (hash === undefined || !HASHES.includes(hash)) return "has a checksum of an unknown kind";
  if (!checksumOf(copy, hash).equals(storedChecksum(copy, hash))) return "is damaged: its checksum is wrong";
  const uuid = luksUuidAt(copy);
  if (uuid === undefined) return "has no valid UUID";

  const metadata = readLuks2Metadata(copy.subarray(BINARY), copySize);
  if (typeof metadata === "string") return metadata;
  return { sequence: copy.readBigUInt64BE(16), header: { version: 2, uuid, copySize, ...metadata } };
}

function copySizeAt(bytes: Buffer): number | undefined {
  const size = bytes.length < 16 ? 0n : bytes.readBigUInt64BE(8);
  return COPY_SIZES.has(size) ? Number(size) : undefined;
}

/** Over binary header and JSON area, with zeros where the checksum itself stands. */
function checksumOf(copy: Buffer, hash: string): Buffer {
  const { offset, length } = CHECKSUM;
  return createHash(hash)
    .update(copy.subarray(0, offset))
    .update(Buffer.alloc(length))
    .update(copy.subarray(offset + length))
    .digest();
}

/** As long as the hash; the rest of the field says nothing. */
function storedChecksum(copy: Buffer, hash: string): Buffer {
  const { offset } = CHECKSUM;
  return copy.subarray(offset, offset + createHash(hash).digest().length);
}
