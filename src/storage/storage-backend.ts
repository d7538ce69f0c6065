import type { LuksHeader } from "../encryption/luks-header.js";
import type { EncryptionFormat, LuksSpec } from "../encryption/luks-spec.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { Secret } from "../secret/secret.js";
import type { Volume } from "./volume.js";

/** What a volume holds, as far as its own bytes tell. Only `empty` may ever be formatted. */
export type Probe =
  /** Every byte that can be read is zero. */
  | { readonly kind: "empty" }
  /** Nothing forbids that it is empty, but its allocation map does not prove it, and it was not read. */
  | { readonly kind: "allocated" }
  | { readonly kind: "luks"; readonly header: LuksHeader }
  /** A LUKS magic with a header that is damaged, cut off, or of a version that this backend does not open. */
  | {
      readonly kind: "bad-luks";
      readonly reason: string;
      /** The UUID that the damaged header claims: ours, if a power cut tore what we wrote. */
      readonly claimedUuid: KeyUuid | undefined;
    }
  /** `signature` in words, `ext4 file system`, or undefined where no known one was found. */
  | { readonly kind: "data"; readonly signature: string | undefined }
  | { readonly kind: "absent" }
  | { readonly kind: "unreadable"; readonly reason: string };

/**
 * How far a probe goes to prove emptiness. `header`: starts no process and reads the header only; what it cannot tell
 * from that is `allocated`. `allocation-map`: a volume whose map has holes only (but for a first block that reads as
 * zero) is `empty`; what a signature gives away is `data`. `read`: reads what is allocated, to the first byte that is not zero; never answers `allocated`.
 */
export type ProbeDepth = "header" | "allocation-map" | "read";

export interface FormatRequest {
  readonly volume: Volume;
  readonly uuid: KeyUuid;
  readonly spec: LuksSpec;
  readonly passphrase: Secret;
}

/** A QEMU -blockdev / --image-opts tree, as JSON. */
export type QemuNode = { readonly [key: string]: string | number | boolean | QemuNode };

/**
 * One kind of storage. `test/contract/storage-backend.contract.ts` runs on every implementation.
 */
export interface StorageBackend {
  readonly type: string;
  /** Encryption formats that it can carry. */
  readonly formats: readonly EncryptionFormat[];

  accepts(volume: Volume): boolean | Promise<boolean>;

  /** Never throws for what the volume is or is not; never writes. */
  probe(volume: Volume, depth: ProbeDepth): Promise<Probe>;

  /**
   * Writes a LUKS header under `uuid` on a volume that is empty *now*: takes the volume's lock and QEMU's, probes with
   * depth `read` and formats in one go, so that two callers cannot both format, and no QEMU writes meanwhile. Idempotent: a volume that already has this
   * UUID's header and that the passphrase opens is success; a header of this UUID that a kill cut short (payload
   * still empty) is made anew. Returns after fsync and after the passphrase was proven to open the volume.
   * The volume's size does not change: the guest sees its size less the payload offset (raw) or all of it (qcow2).
   * @throws VOLUME_NOT_EMPTY, VOLUME_NOT_FOUND, VOLUME_UNREADABLE, VOLUME_BUSY, VOLUME_TOO_SMALL, VOLUME_UNSUPPORTED,
   *   VOLUME_WRITE_FAILED, LUKS_UUID_MISMATCH, LOCK_TIMEOUT, PASSPHRASE_REJECTED (this UUID's header is in use, and the
   *   passphrase does not open it): the volume is as it was, or as a further call mends it
   */
  createEncrypted(request: FormatRequest): Promise<LuksHeader>;

  /**
   * @throws PASSPHRASE_REJECTED if no keyslot opens, LUKS_HEADER_INVALID, VOLUME_NOT_FORMATTED, VOLUME_NOT_FOUND,
   *   VOLUME_UNREADABLE
   */
  testPassphrase(volume: Volume, passphrase: Secret): Promise<void>;

  /** How QEMU opens the encrypted volume; `secretId` names the `-object secret`. */
  qemuNode(volume: Volume, secretId: string): QemuNode;

  /** Bytes that the guest sees, for a volume with `header`. */
  guestSize(volume: Volume, header: LuksHeader): Promise<bigint>;
}
