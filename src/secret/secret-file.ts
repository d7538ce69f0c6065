import { closeSync, constants, ftruncateSync, openSync, writeSync } from "node:fs";
import { errnoOf, LuksmithError } from "../error/luksmith-error.js";
import { isInMemory } from "../fs/memory-file-system.js";
import type { Secret } from "./secret.js";

/**
 * open(2): a file that never has a path, so that nothing is left after kill -9. Node has no name for the flag; with
 * O_EXCL no process can give the file a path later.
 */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY | constants.O_EXCL;
const MEMORY_DIRECTORIES = ["/run", "/dev/shm"];

/** An unnamed file in memory, open for reading and writing. The kernel may swap a tmpfs out: encrypt the swap too. */
export interface MemoryFile extends Disposable {
  readonly fd: number;
}

/** An unnamed file (0600) on tmpfs of `size` bytes. @throws SECRET_FILE_UNAVAILABLE if the host has no tmpfs. */
export function openMemoryFile(size = 0): MemoryFile {
  for (const directory of MEMORY_DIRECTORIES) {
    try {
      if (!isInMemory(directory)) continue;
      const fd = openSync(directory, O_TMPFILE | constants.O_RDWR, 0o600);
      ftruncateSync(fd, size);
      return { fd, [Symbol.dispose]: () => closeSync(fd) };
    } catch (thrown) {
      // the next directory may do: ENOENT (no such directory), EROFS, EACCES
      if (errnoOf(thrown) === undefined) throw thrown;
    }
  }
  throw unavailable(`none of ${MEMORY_DIRECTORIES.join(", ")} is a tmpfs that can be written`);
}

/**
 * `secret` in an unnamed file on tmpfs, for a child process that reads `/proc/self/fd/N`. Disposing closes it.
 * @throws SECRET_FILE_UNAVAILABLE, also when the tmpfs is full
 */
export function secretFile(secret: Secret): MemoryFile {
  const file = openMemoryFile();
  try {
    secret.use((bytes) => {
      for (let done = 0; done < bytes.length;)
        done += writeSync(file.fd, bytes, done, bytes.length - done, done);
    });
    return file;
  } catch (thrown) {
    file[Symbol.dispose]();
    const errno = errnoOf(thrown);
    throw errno === undefined ? thrown : unavailable(`writing to tmpfs failed: ${errno}`);
  }
}

function unavailable(why: string): LuksmithError {
  return new LuksmithError("SECRET_FILE_UNAVAILABLE", {
    what: "cannot hand a secret to another program",
    why,
    hint: `mount a tmpfs with free space on ${MEMORY_DIRECTORIES.join(" or ")}, and run luksmith as root`,
  });
}
