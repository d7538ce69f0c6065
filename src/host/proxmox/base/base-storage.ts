import type { QemuNode } from "../../../storage/storage-backend.js";
import type { Volume } from "../../../storage/volume.js";

/**
 * The storage under a storage of type luksmith. What is written into a volume is the storage backends' business; a base
 * knows where its volumes are, and what else Proxmox VE does with them. Names are those of the volumes on the base:
 * `vm-100-disk-0`. Snapshots and clones of storage that makes them are in ../snapshot/.
 * `test/contract/base-storage.contract.ts` runs on every implementation.
 */
export interface BaseStorage {
  readonly type: "directory" | "lvm" | "lvm-thin" | "rbd" | "zfs";

  /**
   * What the storage backends call the volume; it need not be there.
   * @param snapshot of it, to be read only @throws VOLUME_UNSUPPORTED for a snapshot, on storage that has none
   */
  volume(name: string, snapshot?: string): Volume;
  /** Where new volumes are taken from, for storage that has a choice: the thin pool. */
  readonly pool?: string;

  /**
   * How QEMU opens the encrypted volume, or a snapshot of it; `secretId` names the secret object.
   * @throws as `volume`
   */
  qemuNode(name: string, snapshot: string | undefined, secretId: string): QemuNode;

  /** Names of all volumes that look like Proxmox VE's. @throws VOLUME_UNREADABLE if the base cannot be asked */
  list(): Promise<string[]>;

  /**
   * Nobody whom this host can see has the volume open. One that is gone is success.
   * @throws VOLUME_BUSY, VOLUME_UNREADABLE, VOLUME_WRITE_FAILED
   */
  requireUnused(name: string): Promise<void>;

  /**
   * Destroys the volume, with its header first, so that nothing of it opens even where the storage keeps old blocks.
   * The header of a linked clone is left alone, since its template has the same. One that is gone is success.
   * @throws VOLUME_BUSY if somebody has it open, or it has snapshots or linked clones; VOLUME_UNREADABLE,
   *   VOLUME_WRITE_FAILED
   */
  remove(name: string): Promise<void>;

  /**
   * Where a name can be kept for a volume that is not there at the moment.
   * @throws VOLUME_EXISTS, VOLUME_UNREADABLE
   */
  requireFree?(name: string): Promise<void>;

  /** Never replaces another volume. @throws VOLUME_EXISTS, VOLUME_NOT_FOUND, VOLUME_BUSY, VOLUME_WRITE_FAILED */
  rename(name: string, to: string): Promise<void>;

  /**
   * Makes the volume readable for QEMU on this host until the result is disposed of, if it was not before; nothing to do
   * for most. @throws VOLUME_NOT_FOUND, VOLUME_UNREADABLE (also what is no volume, a symbolic link for instance)
   */
  activate(name: string, snapshot?: string): Promise<AsyncDisposable>;
}

/** Optional capability: snapshots that the storage itself makes, while a guest runs too. */
export interface SnapshotStorage {
  /** @throws VOLUME_EXISTS, VOLUME_NOT_FOUND, VOLUME_WRITE_FAILED */
  snapshot(name: string, snapshot: string): Promise<void>;
  /** @throws VOLUME_NOT_FOUND, VOLUME_BUSY, VOLUME_WRITE_FAILED */
  rollback(name: string, snapshot: string): Promise<void>;
  /** One that is gone is success. @throws VOLUME_BUSY, VOLUME_WRITE_FAILED */
  deleteSnapshot(name: string, snapshot: string): Promise<void>;
  snapshots(name: string): Promise<string[]>;
}

/** Optional capability: clones that share the blocks of a template, and with them its LUKS header. */
export interface CloneStorage {
  /** Makes the volume the base of linked clones: it gets another name, and is not written any more. */
  makeTemplate(name: string, to: string): Promise<void>;
  /** @throws VOLUME_EXISTS, VOLUME_NOT_FOUND, VOLUME_WRITE_FAILED */
  clone(name: string, snapshot: string | undefined, to: string): Promise<void>;
}
