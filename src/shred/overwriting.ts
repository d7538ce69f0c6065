import { createCipheriv, createHash, randomBytes } from "node:crypto";
import { digestOf } from "../audit/entry.js";
import { isRandom } from "../headers/key-material.js";

/**
 * What a header is overwritten with, and what stood there, so that whoever goes on after a kill or a power cut knows by
 * the bytes that this very destruction has begun there, and by nothing else.
 */
export interface Overwriting {
  /** What the filler is made from, hexadecimal. */
  readonly seed: string;
  /** Of the filler: SHA-256, hexadecimal. */
  readonly digest: string;
  /** Of the header's sectors as they were: the first bytes of the hash of each, base64. They give nothing of it away. */
  readonly sectors: string;
}

/**
 * How far a header is overwritten. `untouched`: it is whole, as it was noted. `torn`: each sector is ours or as it was.
 * `other`: something else is there, which is not to be touched.
 */
export type Progress = "untouched" | "torn" | "destroyed" | "other";

/** What storage writes whole or not at all. */
const SECTOR = 512;
const HASH = 8;
/** Bytes of ours by which a sector is known that a kill has left half written. */
const SAMPLE = 16;

export function overwritingOf(header: Buffer): Overwriting {
  const seed = randomBytes(32).toString("hex");
  const hashes = sectorsOf(header).map(hashOf);
  const sectors = Buffer.concat(hashes).toString("base64");
  return { seed, digest: digestOf(fillerOf(seed, header.length)), sectors };
}

/** Bytes that nobody can tell from random ones, always the same for a seed. */
export function fillerOf(seed: string, length: number): Buffer {
  const cipher = createCipheriv("aes-256-ctr", Buffer.from(seed, "hex"), Buffer.alloc(16));
  return cipher.update(Buffer.alloc(length));
}

/** @param bytes what stands in the header's place now */
export function progressIn(
  bytes: Buffer,
  header: { readonly length: number; readonly digest: string },
  { seed, digest, sectors }: Overwriting,
): Progress {
  const found = digestOf(bytes);
  if (found === header.digest) return "untouched";
  if (found === digest) return "destroyed";
  const filler = sectorsOf(fillerOf(seed, header.length));
  const hashes = Buffer.from(sectors, "base64");
  const now = sectorsOf(bytes);
  const isKnown = (sector: Buffer, index: number) =>
    isOurs(sector, filler[index]) || hashOf(sector).equals(hashes.subarray(HASH * index, HASH * (index + 1)));
  return now.length === filler.length && now.every(isKnown) ? "torn" : "other";
}

/**
 * Whether key material of the header that was there stands in its place: it is random, and where it is there again nobody
 * else has put it.
 */
export function hasMaterialIn(bytes: Buffer, { sectors }: Overwriting): boolean {
  const hashes = Buffer.from(sectors, "base64");
  return sectorsOf(bytes).some(
    (sector, index) =>
      isRandom(sector) && hashOf(sector).equals(hashes.subarray(HASH * index, HASH * (index + 1))),
  );
}

function isOurs(sector: Buffer, filler: Buffer | undefined): boolean {
  return filler !== undefined && sector.subarray(0, SAMPLE).equals(filler.subarray(0, SAMPLE));
}

function hashOf(sector: Buffer): Buffer {
  return createHash("sha256").update(sector).digest().subarray(0, HASH);
}

function sectorsOf(bytes: Buffer): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / SECTOR) }, (_, index) =>
    bytes.subarray(SECTOR * index, SECTOR * (index + 1)),
  );
}
