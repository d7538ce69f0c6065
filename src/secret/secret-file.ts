import { closeSync, constants, ftruncateSync, openSync, statfsSync, writeSync } from "node:fs";
import { errnoOf, LuksmithError } from "../error/luksmith-error.js";
import type { Secret } from "./secret.js";

/** open(2): an unnamed file; Node has no name for it. It never has a path, so nothing is left after kill -9. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;
const MEMORY_DIRECTORIES = ["/run", "/dev/shm"];
/** statfs(2) f_type of tmpfs and ramfs. */
const MEMORY_FILE_SYSTEMS = new Set([0x01021994, 0x858458f6]);

/** An unnamed file in memory, open for reading and writing. */
export interface MemoryFile extends Disposable {
  readonly fd: number;
}

/** An unnamed file (0600) on tmpfs of `size` bytes. @throws SECRET_FILE_UNAVAILABLE if the host has no tmpfs. */
export function openMemoryFile(size = 0): MemoryFile {
  for (const directory of MEMORY_DIRECTORIES) {
    try {
      if (!MEMORY_FILE_SYSTEMS.has(statfsSync(directory).type)) continue;
      const fd = openSync(directory, O_TMPFILE | constants.O_RDWR, 0o600);
      ftruncateSync(fd, size);
      return { fd, [Symbol.dispose]: () => closeSync(fd) };
    } catch (thrown) {
      // the next directory may do: ENOENT (no such directory), EROFS, EACCES
      if (errnoOf(thrown) === undefined) throw thrown;
    }
  }
  throw new LuksmithError("SECRET_FILE_UNAVAILABLE", {
    what: "cannot hand a secret to another program",
    why: `none of ${MEMORY_DIRECTORIES.join(", ")} is a tmpfs that can be written`,
    hint: "mount a tmpfs on /run or /dev/shm, and run luksmith as root",
  });
}

/** `secret` in an unnamed file on tmpfs, for a child process that reads `/proc/self/fd/N`. Disposing closes it. */
export function secretFile(secret: Secret): MemoryFile {
  const file = openMemoryFile();
  secret.use((bytes) => writeSync(file.fd, bytes, 0, bytes.length, 0));
  return file;
}
