import type { LuksHeader } from "../encryption/luks-header.js";
import type { LuksPiece } from "../encryption/luks-image.js";
import type { EncryptionFormat, LuksSpec } from "../encryption/luks-spec.js";
import type { LuksmithError } from "../error/luksmith-error.js";
import type { Tool } from "../exec/tools.js";
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

export interface GrowRequest {
  readonly volume: Volume;
  /** The volume's own LUKS header. */
  readonly header: LuksHeader;
  /** Bytes that the guest shall see at least. */
  readonly guestSize: bigint;
  /** Of the volume's key, for storage that cannot be enlarged without it. The caller disposes of it. */
  readonly passphrase: Secret;
  /** Whether a guest's QEMU has the volume itself open: one that is mapped by dm-crypt is not open in that sense. */
  readonly guest: "stopped" | "running";
}

/** A QEMU -blockdev / --image-opts tree, as JSON. */
export type QemuNode = { readonly [key: string]: string | number | boolean | QemuNode | readonly QemuNode[] };

/**
 * One kind of storage. `test/contract/storage-backend.contract.ts` runs on every implementation.
 */
export interface StorageBackend {
  readonly type: string;
  /** Encryption formats that it can carry. */
  readonly formats: readonly EncryptionFormat[];
  /** Programs that this storage needs besides those that every format needs. */
  readonly tools: readonly Tool[];

  accepts(volume: Volume): boolean | Promise<boolean>;

  /** Never throws for what the volume is or is not; never writes. What it must activate, it leaves as it was found. */
  probe(volume: Volume, depth: ProbeDepth): Promise<Probe>;

  /**
   * Writes a LUKS header under `uuid` on a volume that is empty *now*: takes the volume's lock and QEMU's, probes with
   * depth `read` and formats in one go, so that two callers cannot both format, and no QEMU writes meanwhile. Idempotent: a volume that already has this
   * UUID's header and that the passphrase opens is success (VOLUME_NOT_EMPTY if it is of another version than
   * `spec.format`); a header of this UUID that a kill cut short (payload still empty) is made anew. Returns after fsync and after the passphrase was proven to open the volume.
   * The volume's size does not change: the guest sees its size less the payload offset (qcow2: all of it).
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

  /**
   * The volume's LUKS header with all keyslots, to its payload; from the start of the container, which in a qcow2 image is
   * not that of the file. What QEMU or another process does to the volume meanwhile is not kept out.
   * @throws VOLUME_NOT_FORMATTED, LUKS_HEADER_INVALID, VOLUME_NOT_FOUND, VOLUME_UNREADABLE
   */
  readHeader(volume: Volume): Promise<Buffer>;

  /**
   * Writes to the volume's LUKS header, and to nothing behind it, under the volume's lock: of two at once the second
   * gets what the first has written. Also while a guest's QEMU has the volume open, which has read its header for good
   * (docs/decisions/023). Returns after everything was synced and read back.
   * @param length of the header to its payload, in bytes
   * @param change is given these bytes as they are, be they a LUKS header or not, once more where they have changed
   *   until it ended, and resolves to the pieces to be
   *   written, in this order, each one when the storage has those before it; none for nothing. What it throws is thrown
   * @param users whether a guest's QEMU may have the volume open: where the header that it has read is destroyed, or
   *   another one is written, none may. `admitted` without it
   * @throws VOLUME_NOT_FOUND, VOLUME_UNREADABLE, VOLUME_WRITE_FAILED, VOLUME_TOO_SMALL (shorter than `length`),
   *   VOLUME_UNSUPPORTED (a qcow2 image without a container of this length), VOLUME_BUSY (another host changes it as
   *   well; somebody has it open who is excluded), LOCK_TIMEOUT
   */
  changeHeader(
    volume: Volume,
    length: number,
    change: (header: Buffer) => Promise<readonly LuksPiece[]>,
    users?: "admitted" | "excluded",
  ): Promise<void>;

  /** How QEMU opens the encrypted volume, with a LUKS1 header; `secretId` names the `-object secret`. */
  qemuNode(volume: Volume, secretId: string): QemuNode;

  /**
   * Bytes that the guest sees, for a volume with `header`.
   * @throws VOLUME_NOT_FOUND, VOLUME_UNREADABLE
   */
  guestSize(volume: Volume, header: LuksHeader): Promise<bigint>;

  /** Bytes by which the volume grows, where that is more than a sector. @throws VOLUME_NOT_FOUND, VOLUME_UNREADABLE */
  extent?(volume: Volume): Promise<bigint>;

  /**
   * Enlarges the volume until its guest can see at least `guestSize` bytes: exactly these, rounded up to what the
   * storage allocates (a sector of 512 bytes, an extent). Never makes it smaller. Idempotent. What the QEMU of a
   * running guest enlarges by itself when it is told the new size (image files, RBD images) is left to it; an image
   * file with a LUKS2 header, which QEMU never opens, is not.
   * @returns the size that the guest's QEMU is to be told, in bytes; a stopped guest sees it at its next start
   * @throws VOLUME_WOULD_SHRINK, VOLUME_GROW_FAILED (no room, or storage that cannot be enlarged from here),
   *   VOLUME_NOT_FOUND, VOLUME_UNREADABLE, VOLUME_BUSY: the volume is as large as it was
   */
  grow(request: GrowRequest): Promise<bigint>;
}

/** Who else than QEMU's own block layer can decrypt a volume, in libvirt's word. */
export type Engine = "librbd";

export interface EngineVersions {
  readonly qemu: string;
  /** Undefined for a host without libvirt. */
  readonly libvirt: string | undefined;
}

/** A storage backend whose volumes can be decrypted by another engine. */
export interface EngineChooser {
  /**
   * For the encryption block of a volume that is protected now; undefined for QEMU itself.
   * @throws TRAIT_MISSING where the settings choose one that this host lacks, or that would lose data; TOOL_MISSING
   */
  chooseEngine(volume: Volume, versions: () => Promise<EngineVersions>): Promise<Engine | undefined>;
  /** Why an engine must not open this volume, whatever the host's versions; undefined if it may, or cannot be asked. */
  refusedEngine(volume: Volume): Promise<LuksmithError | undefined>;
}

export function choosesEngine(backend: StorageBackend): backend is StorageBackend & EngineChooser {
  return "chooseEngine" in backend;
}

export interface AllocateRequest {
  readonly volume: Volume;
  /** Bytes that the guest shall see once the volume is encrypted. */
  readonly guestSize: bigint;
  /** Where it is taken from, for storage that has a choice: the thin pool. */
  readonly pool?: string;
}

/** A storage backend that can make volumes, as large as their LUKS header and the guest's disk together. */
export interface VolumeAllocator {
  /**
   * Makes a new volume, empty and not encrypted yet. All or nothing.
   * @returns its own size in bytes: what the guest shall see and the payload offset, rounded up to the storage's extent
   * @throws VOLUME_EXISTS, VOLUME_ALLOCATE_FAILED, VOLUME_UNSUPPORTED
   */
  allocate(request: AllocateRequest): Promise<bigint>;
}

/**
 * A storage backend whose new volumes cannot be proven empty without reading, or overwriting, all of them, and need not be
 * to be encrypted: this very process has just made the volume (docs/decisions/022).
 */
export interface EncryptedAllocator {
  /**
   * Makes a new, encrypted volume; takes no longer for a large one. What lay there before is under the header, where
   * the guest reads it as noise. All or nothing.
   * @throws VOLUME_EXISTS, VOLUME_ALLOCATE_FAILED, VOLUME_UNSUPPORTED, VOLUME_WRITE_FAILED
   */
  allocateEncrypted(request: AllocateRequest & FormatRequest): Promise<LuksHeader>;
}

export function allocatesEncrypted(backend: StorageBackend): backend is StorageBackend & EncryptedAllocator {
  return "allocateEncrypted" in backend;
}

/** A storage backend that can say for certain that a volume may be given to a new guest without a LUKS header. */
export interface EmptinessProver {
  /**
   * Proves that a volume is empty *now*, and that nobody has it open for writing, under its lock and QEMU's, as
   * `createEncrypted` does. Writes nothing.
   * @throws VOLUME_NOT_EMPTY, VOLUME_NOT_FOUND, VOLUME_UNREADABLE, VOLUME_BUSY, VOLUME_UNSUPPORTED,
   *   VOLUME_WRITE_FAILED (it could not be written), LUKS_UUID_MISMATCH (whosever key's header it has), LOCK_TIMEOUT
   */
  requireEmpty(volume: Volume): Promise<void>;
}

export function provesEmptiness(backend: StorageBackend): backend is StorageBackend & EmptinessProver {
  return "requireEmpty" in backend;
}

export function canAllocate(backend: StorageBackend): backend is StorageBackend & VolumeAllocator {
  return "allocate" in backend;
}
