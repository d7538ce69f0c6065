import type { KeyUuid } from "../keystore/key-uuid.js";

/** Why a copy was made. */
export type BackupReason = "made" | "changed" | "asked";

/** A copy of a volume's LUKS header that the vault has. */
export interface HeaderBackup {
  readonly uuid: KeyUuid;
  readonly takenAt: Date;
  readonly reason: BackupReason;
  /** The storage's name of the volume that it was taken from. */
  readonly volume: string;
  /** Bytes. */
  readonly length: number;
  /** SHA-256, hexadecimal. */
  readonly digest: string;
  /** A file that `cryptsetup luksHeaderRestore` takes as well. */
  readonly path: string;
}

export interface HeaderToKeep {
  readonly uuid: KeyUuid;
  readonly volume: string;
  /** From the start of the container to its payload. */
  readonly header: Buffer;
  readonly reason: BackupReason;
}

/**
 * Copies of LUKS headers, in the settings' directory (headers.directory), so many of each as they say (headers.keep). A
 * copy holds no secret in clear, but whoever has it and a passphrase that was destroyed since can open the volume: what
 * destroys a keyslot for good destroys copies that have it.
 */
export interface HeaderVault {
  /**
   * Keeps a copy, unless the newest one is the same; the oldest that are too many go. All or nothing.
   * @throws HEADER_BACKUP_FAILED, LUKS_HEADER_INVALID (not a header of this UUID: nothing is kept)
   */
  keep(header: HeaderToKeep): Promise<HeaderBackup>;

  /** Of what headers there may be copies. @throws NOT_PERMITTED */
  keys(): readonly KeyUuid[];

  /** The copies of one volume's header, the newest first; what is damaged is left out. @throws NOT_PERMITTED */
  backups(uuid: KeyUuid): readonly HeaderBackup[];

  /** The copies that were taken from a volume of this name, of whatever key, the newest first. @throws NOT_PERMITTED */
  takenFrom(volume: string): readonly HeaderBackup[];

  /** The bytes, checked against the digest. @throws HEADER_BACKUP_INVALID, HEADER_BACKUP_MISSING */
  read(backup: HeaderBackup): Buffer;

  /**
   * Keeps bytes that are about to be overwritten and are no header that `keep` takes, damaged as they may be; the
   * oldest that are too many go. @returns the file's path @throws HEADER_BACKUP_FAILED
   */
  setAside(uuid: KeyUuid, bytes: Buffer): Promise<string>;

  /** Overwrites and removes copies: these, or all of the key. Idempotent. @throws HEADER_BACKUP_FAILED */
  destroy(uuid: KeyUuid, backups?: readonly HeaderBackup[]): Promise<void>;
}
