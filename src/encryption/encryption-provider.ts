import type { HostVersions } from "../host/host-adapter.js";
import type { Secret } from "../secret/secret.js";
import type { FormatRequest, StorageBackend } from "../storage/storage-backend.js";
import type { Volume } from "../storage/volume.js";
import type { LuksHeader } from "./luks-header.js";

/** What a host can promise, in the words of OpenStack's os-traits. */
export type Trait = "COMPUTE_EPHEMERAL_ENCRYPTION" | "COMPUTE_EPHEMERAL_ENCRYPTION_LUKS";

/** Where the guest's plaintext comes from. */
export type Opened =
  /** The guest is given the volume itself, and QEMU decrypts it with the host secret. */
  | { readonly kind: "native" }
  /** The guest is given a mapping of the kernel. */
  | { readonly kind: "mapping"; readonly path: string };

/** Who encrypts and decrypts: QEMU itself, or the kernel's dm-crypt under it. */
export interface EncryptionProvider {
  readonly name: string;

  /** What this provider can promise on a host of these versions; empty where it cannot work. */
  traits(versions: HostVersions): readonly Trait[];

  /**
   * Formats the volume through its storage backend, whose errors and proofs hold.
   * @throws REQUEST_INVALID, VOLUME_UNSUPPORTED if what is asked for could not be opened afterwards: nothing is written
   */
  format(backend: StorageBackend, request: FormatRequest): Promise<LuksHeader>;

  /** Makes the volume ready for its guest. Idempotent. The caller disposes of the passphrase. */
  open(volume: Volume, passphrase: Secret): Promise<Opened>;

  /** Undoes `open`. Idempotent: a volume that is not open is success. */
  close(volume: Volume): Promise<void>;
}
