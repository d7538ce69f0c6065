/** LUKS encryption formats, in Nova's words (`hw:ephemeral_encryption_format`). */
export type EncryptionFormat = "plain" | "luks" | "luksv2";

/** How a volume is encrypted; the same words as `cryptsetup luksFormat` uses. */
export interface LuksSpec {
  readonly format: "luks";
  /** dm-crypt cipher specification, `aes-xts-plain64`. */
  readonly cipher: string;
  /** Bits of the volume key; XTS uses half for each of its two keys. */
  readonly keySize: number;
  /** Hash of PBKDF2 and of the anti-forensic splitter, `sha256`. */
  readonly hash: string;
}
