import type { EncryptionFormat } from "../encryption/luks-spec.js";

/** One voice about a guest's encryption: a flavor, an image, the guest's metadata or an operator's rule. */
export interface Ask {
  /** Who speaks, for messages: `flavor m1.small (hw:ephemeral_encryption)`. */
  readonly source: string;
  /** Yes, no, or undefined: has a say only about the format or the profile. */
  readonly enabled: boolean | undefined;
  readonly format?: EncryptionFormat;
  /** Name of a profile in the settings. */
  readonly profile?: string;
  /** Device names that it speaks about; all of the guest's disks without it. */
  readonly disks?: readonly string[];
}

/** What was decided for one disk. */
export interface EncryptionRequest {
  /** Device name. */
  readonly disk: string;
  readonly format: EncryptionFormat;
  readonly cipher: string;
  /** Bits of the volume key. */
  readonly keySize: number;
  readonly hash: string;
  readonly profile: string;
  /** Name of the keystore instance. */
  readonly keystore: string;
  /** The sources that asked, in the order of their rank. */
  readonly askedBy: readonly string[];
}
