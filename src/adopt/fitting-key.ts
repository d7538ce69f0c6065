import type { EncryptionSpec } from "../encryption/luks-spec.js";
import type { Secret } from "../secret/secret.js";
import type { LegacySettings } from "../settings/settings.js";
import { knownContent } from "./known-content.js";
import { decryptPlain } from "./plain-sectors.js";

/** What a passphrase turned out to be for a volume. */
export interface FittingKey {
  readonly spec: EncryptionSpec;
  /** What the decrypted start shows: `ext file system`. */
  readonly content: string;
}

/** Every hash that cryptsetup had as its own for plain volumes, and one that administrators choose. */
const HASHES = ["ripemd160", "sha256", "sha512"] as const;

/**
 * Whether a passphrase opens a plain volume, of which nothing but its content can tell. Nova never said which hash makes
 * the key: it is that of the cryptsetup of its time, so all are tried, the settings' one first.
 * @param start of the volume, as the storage has it; START bytes are enough
 */
export function fittingKey(
  start: Buffer,
  { cipher, keySize, hash }: LegacySettings,
  passphrase: Secret,
): FittingKey | undefined {
  for (const candidate of new Set([hash, ...HASHES])) {
    const spec = { format: "plain", cipher, keySize, hash: candidate } as const;
    const decrypted = decryptPlain(start, spec, passphrase);
    const content = decrypted && knownContent(decrypted);
    decrypted?.fill(0);
    if (content !== undefined) return { spec, content };
  }
  return undefined;
}
