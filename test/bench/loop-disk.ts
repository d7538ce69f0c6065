import { randomBytes, randomUUID } from "node:crypto";
import {
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { basename, join } from "node:path";
import { runProgram } from "./program.js";

/** A directory in memory, on the private host as well as in User-Mode Linux. */
export const IN_MEMORY = "/run";

const MIB = 1024 * 1024;

/** A block device on a sparse file that no path leads to: the kernel removes both whatever way this process ends. */
export class LoopDisk implements Disposable {
  readonly path: string;
  readonly #fd: number;

  /** `size` in bytes. */
  constructor(
    readonly size: number,
    directory = IN_MEMORY,
  ) {
    const file = join(directory, randomUUID());
    writeFileSync(file, "");
    truncateSync(file, size);
    this.path = runProgram({ argv: ["/usr/sbin/losetup", "--find", "--show", "--", file] }).trim();
    this.#fd = openSync(this.path, "r");
    // it goes with its last user, and that is us
    runProgram({ argv: ["/usr/sbin/losetup", "--detach", this.path] });
    rmSync(file);
  }

  /** Bytes that were written to it since it was made. Those that the kernel still holds back are not among them. */
  get written(): number {
    const fields = readFileSync(`/sys/block/${basename(this.path)}/stat`, "utf8")
      .trim()
      .split(/\s+/);
    return Number(fields[6]) * 512;
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

/** Gives a file or device all its blocks from `offset` on, so that no round pays for their allocation. */
export function fill(path: string, offset: number, length: number): void {
  const piece = randomBytes(MIB);
  const fd = openSync(path, "r+");
  try {
    for (let at = offset; at < offset + length; at += MIB) writeSync(fd, piece, 0, MIB, at);
  } finally {
    closeSync(fd);
  }
  // what is still to be written would be written during the first round
  runProgram({ argv: ["/usr/bin/sync", path] });
}

/** A file system on all of `disk`, until it is disposed of. */
export function mountExt4(disk: LoopDisk): Disposable & { readonly path: string } {
  // nothing may be left for the kernel to initialize later, which would count as ours
  const options = ["-q", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"];
  runProgram({ argv: ["/usr/sbin/mkfs.ext4", ...options, disk.path] });
  const path = mkdtempSync(join(IN_MEMORY, "bench-"));
  runProgram({ argv: ["/usr/bin/mount", disk.path, path] });
  return {
    path,
    [Symbol.dispose]() {
      runProgram({ argv: ["/usr/bin/umount", path] });
      rmdirSync(path);
    },
  };
}
