/** Encryption formats, in Nova's words (`hw:ephemeral_encryption_format`). */
export type EncryptionFormat = "plain" | "luks" | "luksv2";

/** How a volume is encrypted; the same words as cryptsetup uses. */
export interface EncryptionSpec {
  readonly format: EncryptionFormat;
  /** dm-crypt cipher specification, `aes-xts-plain64`. */
  readonly cipher: string;
  /** Bits of the volume key; XTS uses half for each of its two keys. */
  readonly keySize: number;
  /** Hash of PBKDF2 and of LUKS's anti-forensic splitter, `sha256`; for `plain`, what makes the key of a passphrase. */
  readonly hash: string;
}

/** How a LUKS container is made: version 1 or 2. */
export interface LuksSpec extends EncryptionSpec {
  readonly format: Exclude<EncryptionFormat, "plain">;
}

export function isLuks(spec: EncryptionSpec): spec is LuksSpec {
  return spec.format !== "plain";
}
