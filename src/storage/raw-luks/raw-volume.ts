import type { Allocation } from "../allocation-map.js";
import type { ImageLock } from "../image-lock.js";

/**
 * A raw volume that is open: the LUKS header stands at its start, and the guest's disk is what comes after it. What
 * probing and formatting need of the storage, and nothing more. Disposing closes it and leaves the storage as it was
 * found.
 */
export interface RawVolume extends AsyncDisposable {
  /** For messages. */
  readonly name: string;
  /** The same text for whoever means the same bytes, on this host. */
  readonly identity: string;
  /** Bytes when it was opened. */
  readonly size: number;

  /** Up to `length` bytes from `offset`: fewer at the volume's end only. @throws VOLUME_UNREADABLE */
  read(offset: number, length: number): Promise<Buffer>;
  /** Writes all of `bytes`. @throws VOLUME_WRITE_FAILED */
  write(offset: number, bytes: Buffer): Promise<void>;
  /** Waits until the storage has all that was written. @throws VOLUME_WRITE_FAILED */
  sync(): Promise<void>;
  /** Whether its name still leads to what is open. */
  isInPlace(): Promise<boolean>;

  /**
   * What may be other than zero, as far as the storage knows without reading. @throws VOLUME_UNREADABLE, TOOL_TIMEOUT
   */
  allocation(): Promise<Allocation>;
  /**
   * Reads `allocation` to the first byte that is not zero. Bytes before `from` may be anything, and there are none
   * behind the volume's end. @throws VOLUME_UNREADABLE: what cannot be read proves nothing
   */
  readsAsZero(allocation: Allocation, from: number): Promise<boolean>;
  /** What depends on the volume, so that it may not be formatted though it is empty: `2 snapshots`. */
  obstacle(): Promise<string | undefined>;
  /** What it seems to hold, in words for a message; undefined where nothing known was found. */
  signature(): Promise<string | undefined>;

  /**
   * Keeps others from writing until it is disposed of.
   * @param volumeLock is inherited by a process that holds something: fs/file-lock.ts
   * @throws VOLUME_BUSY, VOLUME_WRITE_FAILED
   */
  lock(volumeLock: number): Promise<ImageLock>;
  /**
   * Makes it writable until it is disposed of, whoever else has it open, a running guest's QEMU or the kernel.
   * @param volumeLock as for `lock`
   * @throws VOLUME_WRITE_FAILED
   */
  share(volumeLock: number): Promise<AsyncDisposable>;
}
