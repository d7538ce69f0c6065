import { type BigIntStats, constants } from "node:fs";
import { type FileHandle, open, realpath, stat } from "node:fs/promises";
import type { LuksmithError } from "../error/luksmith-error.js";
import { systemErrorOf } from "../fs/system-error.js";
import { volumeAbsent, volumeUnreadable, volumeUnwritable } from "./volume-error.js";

/** The regular file behind a volume's path, open: every step of a probe or a format works on this one inode. */
export class VolumeFile implements AsyncDisposable {
  private constructor(
    /** Absolute, without symbolic links. */
    readonly path: string,
    private readonly handle: FileHandle,
    readonly stats: BigIntStats,
    /** For messages. */
    readonly name: string,
  ) {}

  /** @throws VOLUME_NOT_FOUND, VOLUME_UNREADABLE, and VOLUME_WRITE_FAILED where reading would be allowed */
  static async open(path: string, access: "read" | "read-write"): Promise<VolumeFile> {
    const mode = access === "read" ? constants.O_RDONLY : constants.O_RDWR;
    try {
      const real = await realpath(path);
      // without O_NONBLOCK the open of a FIFO waits for its other end
      const flags = mode | constants.O_NONBLOCK | constants.O_NOFOLLOW;
      const file = await VolumeFile.adopt(real, await open(real, flags), path);
      if (file.stats.isFile()) return file;
      await file[Symbol.asyncDispose]();
    } catch (thrown) {
      throw openingFailed(path, access, thrown);
    }
    throw volumeUnreadable(path, "it is not a regular file");
  }

  /** A new file that only its owner can read; messages call it `name`. @throws VOLUME_WRITE_FAILED */
  static async create(path: string, name: string): Promise<VolumeFile> {
    try {
      return await VolumeFile.adopt(path, await open(path, "wx+", 0o600), name);
    } catch (thrown) {
      throw volumeUnwritable(name, reasonOf(thrown));
    }
  }

  private static async adopt(path: string, handle: FileHandle, name: string): Promise<VolumeFile> {
    return new VolumeFile(path, handle, await handle.stat({ bigint: true }), name);
  }

  /** For a child process, which opens `/proc/self/fd/N`: neither a file name nor another inode can reach it. */
  get fd(): number {
    return this.handle.fd;
  }

  /** Bytes when it was opened. */
  get size(): number {
    return Number(this.stats.size);
  }

  /** Bytes now. */
  async length(): Promise<number> {
    return (await this.handle.stat()).size;
  }

  /** Up to `length` bytes from `offset`: fewer at the end of the file only. @throws VOLUME_UNREADABLE */
  async read(offset: number, length: number): Promise<Buffer> {
    const bytes = Buffer.alloc(length);
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

  /** Writes all of `bytes`. @throws VOLUME_WRITE_FAILED */
  async write(offset: number, bytes: Buffer): Promise<void> {
    let written = 0;
    try {
      while (written < bytes.length) {
        const rest = bytes.length - written;
        written += (await this.handle.write(bytes, written, rest, offset + written)).bytesWritten;
      }
    } catch (thrown) {
      throw volumeUnwritable(this.name, reasonOf(thrown));
    }
  }

  /** Waits until the storage has all that was written. @throws VOLUME_WRITE_FAILED */
  async sync(): Promise<void> {
    try {
      await this.handle.sync();
    } catch (thrown) {
      throw volumeUnwritable(this.name, reasonOf(thrown));
    }
  }

  /** Whether its path still leads to this inode. */
  async isInPlace(): Promise<boolean> {
    const now = await stat(this.path, { bigint: true }).catch(() => undefined);
    return now?.dev === this.stats.dev && now.ino === this.stats.ino;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.handle.close();
  }
}

/** Why a file that may be read cannot be opened for writing. */
const NOT_WRITABLE: ReadonlySet<string> = new Set(["EROFS", "EACCES", "EPERM", "ETXTBSY"]);

function openingFailed(path: string, access: "read" | "read-write", thrown: unknown): LuksmithError {
  const error = systemErrorOf(thrown);
  if (error?.code === "ENOENT" || error?.code === "ENOTDIR") return volumeAbsent(path);
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
