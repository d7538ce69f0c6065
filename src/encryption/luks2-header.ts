import { createHash } from "node:crypto";
import type { Luks2Header } from "./luks-header.js";
import { LUKS_MAGIC, luksUuidAt, textAt } from "./luks-field.js";
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
