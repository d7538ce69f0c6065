import type { EncryptionFormat, EncryptionSpec } from "../encryption/luks-spec.js";
import type { LuksmithError } from "../error/luksmith-error.js";

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
  /**
   * Why it cannot be understood. Thrown by `resolveRequests` and not where it is read, so that a guest that runs
   * already can still be stopped, and survives a restart of its host manager.
   */
  readonly problem?: LuksmithError;
}

/** What was decided for one disk. */
export interface EncryptionRequest extends EncryptionSpec {
  /** Device name. */
  readonly disk: string;
  /** Name of the profile that the parameters come from; for `plain` they are the legacy settings' own. */
  readonly profile: string;
  /** Name of the keystore instance. */
  readonly keystore: string;
  /** The sources that asked, in the order of their rank. */
  readonly askedBy: readonly string[];
}
