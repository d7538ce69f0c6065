import { createCipheriv, createDecipheriv } from "node:crypto";
import type { Secret } from "../../secret/secret.js";

/** Bytes that are encrypted under one number. */
export const SECTOR = 512;
const BLOCK = 16;
/** What the field of 128 bits is reduced by: x^7 + x^2 + x + 1. */
const REDUCTION = 0x87;

/**
 * AES-XTS with plain64 sector numbers, as dm-crypt and QEMU have it, for many sectors in one go (IEEE 1619): what the
 * blocks are masked with is computed here, so that AES gets them all in one call. A call of OpenSSL for each sector
 * takes nearly three times as long.
 */
export class SectorCipher {
  readonly #cipher: string;
  // kept from call to call, so that a large disk makes no more garbage than a small one
  #masks = new Uint32Array();
  #masked = new Uint32Array();

  /** @param key the volume key, of 256 or 512 bits; stays the caller's */
  constructor(private readonly key: Secret) {
    this.#cipher = `aes-${key.length * 4}-ecb`;
  }

  /** @param first number of the first sector, counted from the payload's start; `bytes` are whole sectors */
  encrypt(bytes: Buffer, first: number): Buffer {
    return this.run(createCipheriv, bytes, first);
  }

  decrypt(bytes: Buffer, first: number): Buffer {
    return this.run(createDecipheriv, bytes, first);
  }

  private run(make: typeof createCipheriv | typeof createDecipheriv, bytes: Buffer, first: number): Buffer {
    if (bytes.length % SECTOR !== 0) throw new Error(`${bytes.length} bytes are no whole sectors`);
    if (this.#masks.length < bytes.length / 4) {
      this.#masks = new Uint32Array(bytes.length / 4);
      this.#masked = new Uint32Array(bytes.length / 4);
    }
    const half = this.key.length / 2;
    this.mask(bytes.length / SECTOR, first);
    const masked = Buffer.from(this.#masked.buffer, 0, bytes.length);
    bytes.copy(masked);
    this.xor(this.#masked, bytes.length / 4);
    const output = this.key.use((key) => {
      const cipher = make(this.#cipher, key.subarray(0, half), null);
      cipher.setAutoPadding(false);
      return cipher.update(masked);
    });
    masked.fill(0);
    this.xor(wordsOf(output), output.length / 4);
    return output;
  }

  /** The mask of each block: that of a sector's first one is its encrypted number, each further one is doubled. */
  private mask(sectors: number, first: number): void {
    const numbers = Buffer.alloc(sectors * BLOCK);
    for (let at = 0; at < sectors; at++) numbers.writeBigUInt64LE(BigInt(first + at), at * BLOCK);
    const starts = this.key.use((key) => {
      const cipher = createCipheriv(this.#cipher, key.subarray(key.length / 2), null);
      cipher.setAutoPadding(false);
      return wordsOf(cipher.update(numbers));
    });
    const masks = this.#masks;
    for (let sector = 0, at = 0; sector < sectors; sector++) {
      let a = starts[4 * sector] ?? 0;
      let b = starts[4 * sector + 1] ?? 0;
      let c = starts[4 * sector + 2] ?? 0;
      let d = starts[4 * sector + 3] ?? 0;
      for (let block = 0; block < SECTOR / BLOCK; block++, at += 4) {
        masks[at] = a;
        masks[at + 1] = b;
        masks[at + 2] = c;
        masks[at + 3] = d;
        const carry = d >>> 31;
        d = (d << 1) | (c >>> 31);
        c = (c << 1) | (b >>> 31);
        b = (b << 1) | (a >>> 31);
        a = (a << 1) ^ (carry * REDUCTION);
      }
    }
  }

  private xor(words: Uint32Array, count: number): void {
    const masks = this.#masks;
    for (let at = 0; at < count; at++) words[at] = (words[at] ?? 0) ^ (masks[at] ?? 0);
  }
}

/** The same memory: what OpenSSL makes begins where words may. */
function wordsOf({ buffer, byteOffset, length }: Buffer): Uint32Array {
  return new Uint32Array(buffer, byteOffset, length / 4);
}
