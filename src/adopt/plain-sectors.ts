import { createCipheriv, createDecipheriv, createHash } from "node:crypto";
import type { EncryptionSpec } from "../encryption/luks-spec.js";
import { Secret } from "../secret/secret.js";

/** dm-crypt's sector, whose number is the initialization vector. */
const SECTOR = 512;

/** How a volume is encrypted that has no header: all of it must be known from elsewhere. */
export type PlainSpec = Pick<EncryptionSpec, "cipher" | "keySize" | "hash">;

/**
 * Bytes from a plain volume's start, decrypted as the kernel would, but by this process alone: to look whether a
 * passphrase is the right one, before anything is mapped. Half a sector at the end is left out.
 * @returns undefined for a cipher or a hash that is not one of the settings'
 */
export function decryptPlain(bytes: Buffer, spec: PlainSpec, passphrase: Secret): Buffer | undefined {
  using key = plainKey(spec, passphrase);
  const decryptSector = key && sectorDecryption(spec, key);
  if (decryptSector === undefined) return undefined;
  const sectors = Array.from({ length: Math.floor(bytes.length / SECTOR) }, (_, number) =>
    decryptSector(bytes.subarray(number * SECTOR, (number + 1) * SECTOR), number),
  );
  return Buffer.concat(sectors);
}

/**
 * The volume's key as cryptsetup makes it of a passphrase for plain volumes: hashes of it one after the other, the
 * second with one A before it, the third with two, until there are enough bytes.
 */
function plainKey({ keySize, hash }: PlainSpec, passphrase: Secret): Secret | undefined {
  const algorithm = HASHES.get(hash);
  if (algorithm === undefined) return undefined;
  const key = Buffer.alloc(keySize / 8);
  for (let round = 0, filled = 0; filled < key.length; round++) {
    const digest = passphrase.use((bytes) =>
      createHash(algorithm).update("A".repeat(round)).update(bytes).digest(),
    );
    filled += digest.copy(key, filled);
    digest.fill(0);
  }
  return Secret.own(key);
}

const HASHES: ReadonlyMap<string, string> = new Map([
  ["ripemd160", "ripemd160"],
  ["sha256", "sha256"],
  ["sha512", "sha512"],
]);

type SectorDecryption = (sector: Buffer, number: number) => Buffer;

function sectorDecryption({ cipher, keySize }: PlainSpec, key: Secret): SectorDecryption | undefined {
  switch (cipher) {
    case "aes-xts-plain64":
      return (sector, number) => decrypt(`aes-${keySize / 2}-xts`, sector, key, plain64(number));
    case "aes-cbc-essiv:sha256":
      return (sector, number) => decrypt(`aes-${keySize}-cbc`, sector, key, essiv(number, key));
    default:
      return undefined;
  }
}

function decrypt(algorithm: string, sector: Buffer, key: Secret, iv: Buffer): Buffer {
  return key.use((bytes) => {
    const decipher = createDecipheriv(algorithm, bytes, iv).setAutoPadding(false);
    return Buffer.concat([decipher.update(sector), decipher.final()]);
  });
}

/** The sector's number, little-endian, in 16 bytes. */
function plain64(number: number): Buffer {
  const iv = Buffer.alloc(16);
  iv.writeBigUInt64LE(BigInt(number));
  return iv;
}

/** The same, encrypted under the key's own hash. */
function essiv(number: number, key: Secret): Buffer {
  const salt = key.use((bytes) => createHash("sha256").update(bytes).digest());
  const iv = createCipheriv("aes-256-ecb", salt, null).setAutoPadding(false).update(plain64(number));
  salt.fill(0);
  return iv;
}
