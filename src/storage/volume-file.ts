import { type BigIntStats, constants } from "node:fs";
import { type FileHandle, open, readFile, realpath, stat } from "node:fs/promises";
import { errnoOf, LuksmithError } from "../error/luksmith-error.js";
import { systemErrorOf } from "../fs/system-error.js";
import {
  volumeAbsent,
  volumeBusy,
  volumeNotGrown,
  volumeUnreadable,
  volumeUnwritable,
} from "./volume-error.js";

export type Access = "read" | "read-write";
export type FileType = "regular file" | "block device";

/** The file or device behind a volume's path, open: every step of a probe or a format works on this one inode. */
export class VolumeFile implements AsyncDisposable {
  /** Of a block device that was claimed. */
  #claim: FileHandle | undefined;

  private constructor(
    /** Absolute, without symbolic links. */
    readonly path: string,
    private readonly given: string,
    private readonly handle: FileHandle,
    readonly stats: BigIntStats,
    /** Bytes when it was opened. */
    readonly size: number,
    /** For messages. */
    readonly name: string,
  ) {}

  /**
   * A block device is opened for reading only, whatever `access` says, and written by who claims it: one that waits
   * for another process to finish must not look to it like somebody who could write meanwhile.
   * @throws VOLUME_NOT_FOUND, VOLUME_UNREADABLE, and VOLUME_WRITE_FAILED where reading would be allowed
   */
  static async open(path: string, access: Access, type: FileType = "regular file"): Promise<VolumeFile> {
    const mode = access === "read" || type === "block device" ? constants.O_RDONLY : constants.O_RDWR;
    try {
      const real = await realpath(path);
      // the open of a wrong device can do harm: a tape rewinds
      if (!isOfType(await stat(real, { bigint: true }), type)) throw notOfType(path, type);
      // without O_NONBLOCK the open of a FIFO waits for its other end
      const flags = mode | constants.O_NONBLOCK | constants.O_NOFOLLOW;
      const file = await VolumeFile.adopt(real, path, await open(real, flags), path);
      if (isOfType(file.stats, type)) return file;
      await file[Symbol.asyncDispose]();
    } catch (thrown) {
      throw thrown instanceof LuksmithError ? thrown : openingFailed(path, access, thrown);
    }
    throw notOfType(path, type);
  }

  /** A new file that only its owner can read; messages call it `name`. @throws VOLUME_WRITE_FAILED */
  static async create(path: string, name: string): Promise<VolumeFile> {
    try {
      return await VolumeFile.adopt(path, path, await open(path, "wx+", 0o600), name);
    } catch (thrown) {
      throw volumeUnwritable(name, reasonOf(thrown));
    }
  }

  private static async adopt(
    path: string,
    given: string,
    handle: FileHandle,
    name: string,
  ): Promise<VolumeFile> {
    try {
      const stats = await handle.stat({ bigint: true });
      return new VolumeFile(path, given, handle, stats, await sizeOf(stats), name);
    } catch (thrown) {
      await handle.close();
      throw thrown;
    }
  }

  /** For a child process, which opens `/proc/self/fd/N`: neither a file name nor another inode can reach it. */
  get fd(): number {
    return this.handle.fd;
  }

  /** Bytes of a regular file now. */
  async length(): Promise<number> {
    return (await this.handle.stat()).size;
  }

  /**
   * Up to `length` bytes from `offset`: fewer at the end of the file only.
   * @param bytes what they are read into, for who reads a lot @throws VOLUME_UNREADABLE
   */
  async read(offset: number, length: number, bytes: Buffer = Buffer.alloc(length)): Promise<Buffer> {
    let filled = 0;
    try {
      while (filled < length) {
        const { bytesRead } = await this.handle.read(bytes, filled, length - filled, offset + filled);
        if (bytesRead === 0) break;
        filled += bytesRead;
      }
    } catch (thrown) {
      throw volumeUnreadable(this.name, reasonOf(thrown));
    }
    return bytes.subarray(0, filled);
  }

  /** Writes all of `bytes`; to a block device while it is claimed. @throws VOLUME_WRITE_FAILED */
  async write(offset: number, bytes: Buffer): Promise<void> {
    let written = 0;
    try {
      while (written < bytes.length) {
        const rest = bytes.length - written;
        const handle = this.#claim ?? this.handle;
        written += (await handle.write(bytes, written, rest, offset + written)).bytesWritten;
      }
    } catch (thrown) {
      throw volumeUnwritable(this.name, reasonOf(thrown));
    }
  }

  /** Waits until the storage has all that was written. @throws VOLUME_WRITE_FAILED */
  async sync(): Promise<void> {
    try {
      await (this.#claim ?? this.handle).sync();
    } catch (thrown) {
      throw volumeUnwritable(this.name, reasonOf(thrown));
    }
  }

  /** The same of what it needs to read it back, which leaves times out. @throws VOLUME_WRITE_FAILED */
  async syncData(): Promise<void> {
    try {
      await (this.#claim ?? this.handle).datasync();
    } catch (thrown) {
      throw volumeUnwritable(this.name, reasonOf(thrown));
    }
  }

  /** Makes a regular file `size` bytes long; what is new reads as zero. @throws VOLUME_GROW_FAILED */
  async extend(size: bigint): Promise<void> {
    try {
      await this.handle.truncate(Number(size));
      await this.handle.sync();
    } catch (thrown) {
      throw volumeNotGrown(this.name, reasonOf(thrown));
    }
  }

  /**
   * Claims a block device for writing until what is returned is disposed of: nothing of it can be mounted, or be made
   * part of another device, and nothing of it is. @throws VOLUME_BUSY, VOLUME_WRITE_FAILED
   */
  async claim(): Promise<AsyncDisposable> {
    try {
      const claim = await open(`/proc/self/fd/${this.fd}`, constants.O_RDWR | constants.O_EXCL);
      this.#claim = claim;
      return {
        [Symbol.asyncDispose]: () => {
          this.#claim = undefined;
          return claim.close();
        },
      };
    } catch (thrown) {
      if (errnoOf(thrown) === "EBUSY")
        throw volumeBusy(this.name, "it is mounted, or part of another device");
      throw volumeUnwritable(this.name, reasonOf(thrown));
    }
  }

  /**
   * Makes a block device writable until what is returned is disposed of, though others use it: a mapping of the kernel
   * keeps out whoever claims it. A regular file is written as it was opened. @throws VOLUME_WRITE_FAILED
   */
  async share(): Promise<AsyncDisposable> {
    if (!this.stats.isBlockDevice()) return NOTHING;
    try {
      const shared = await open(`/proc/self/fd/${this.fd}`, constants.O_RDWR);
      this.#claim = shared;
      return {
        [Symbol.asyncDispose]: () => {
          this.#claim = undefined;
          return shared.close();
        },
      };
    } catch (thrown) {
      throw volumeUnwritable(this.name, reasonOf(thrown));
    }
  }

  /** Whether the path that it was opened by still leads to this inode, or to another node of this device. */
  async isInPlace(): Promise<boolean> {
    const now = await stat(this.given, { bigint: true }).catch(() => undefined);
    if (this.stats.isBlockDevice()) return now?.isBlockDevice() === true && now.rdev === this.stats.rdev;
    return now?.dev === this.stats.dev && now.ino === this.stats.ino;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.handle.close();
  }
}

const NOTHING: AsyncDisposable = { [Symbol.asyncDispose]: () => Promise.resolve() };

function isOfType(stats: BigIntStats, type: FileType): boolean {
  return type === "regular file" ? stats.isFile() : stats.isBlockDevice();
}

function notOfType(path: string, type: FileType): LuksmithError {
  return volumeUnreadable(path, `it is not a ${type}`);
}

/** A device's inode does not tell its size; Linux has it in sectors of 512 bytes, whatever the device's own are. */
async function sizeOf(stats: BigIntStats): Promise<number> {
  if (!stats.isBlockDevice()) return Number(stats.size);
  return 512 * Number(await readFile(`/sys/dev/block/${deviceNumber(stats)}/size`, "utf8"));
}

/** `MAJOR:MINOR` of a device's node, as makedev(3) packs them. */
export function deviceNumber({ rdev }: Pick<BigIntStats, "rdev">): string {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n);
  return `${major}:${minor}`;
}

/** The last two: the node of a device that is gone, or that has no medium. */
const ABSENT: ReadonlySet<string> = new Set(["ENOENT", "ENOTDIR", "ENXIO", "ENODEV"]);

/** Why a file that may be read cannot be opened for writing. */
const NOT_WRITABLE: ReadonlySet<string> = new Set(["EROFS", "EACCES", "EPERM", "ETXTBSY"]);

function openingFailed(path: string, access: Access, thrown: unknown): LuksmithError {
  const error = systemErrorOf(thrown);
  if (error !== undefined && ABSENT.has(error.code)) return volumeAbsent(path);
  if (error !== undefined && access === "read-write" && NOT_WRITABLE.has(error.code)) {
    return volumeUnwritable(path, error.text);
  }
  return volumeUnreadable(path, reasonOf(thrown));
}

/** The kernel's words; what is no system error is a mistake of ours and goes on as it is. */
function reasonOf(thrown: unknown): string {
  const error = systemErrorOf(thrown);
  if (error === undefined) throw thrown;
  return error.text;
}
