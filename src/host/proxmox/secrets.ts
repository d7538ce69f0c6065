import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  rmdirSync,
  unlinkSync,
} from "node:fs";
import { join } from "node:path";
import { errnoOf, LuksmithError } from "../../error/luksmith-error.js";
import { makeDirectory } from "../../fs/atomic-file.js";
import { ifThere } from "../../fs/if-there.js";
import { isInMemory } from "../../fs/memory-file-system.js";
import { writeAll } from "../../fs/write-all.js";
import type { Secret } from "../../secret/secret.js";
import type { ProxmoxPlaces } from "./places.js";
import type { Start } from "./starts.js";

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_WRONLY } = constants;

/** A passphrase, and the name of the file from which QEMU reads it: the guest's name of the disk. */
export interface StartSecret {
  readonly file: string;
  readonly passphrase: Secret;
}

/** The directory of one start; it need not be there. */
export function startNamed({ starts }: Pick<ProxmoxPlaces, "starts">, vmid: string, name: string): Start {
  return { vmid, name, path: join(starts, vmid, name) };
}

/**
 * Writes each passphrase into a file of its own, readable by root only, in memory. A file of that name is replaced. All
 * or nothing: on failure none of them is left. @throws HOST_SECRET_FAILED
 */
export function writeSecrets(start: Start, secrets: readonly StartSecret[]): void {
  const written: string[] = [];
  try {
    prepare(start);
    for (const { file, passphrase } of secrets) {
      const path = join(start.path, file);
      erase(path);
      written.push(path);
      const fd = openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
      try {
        passphrase.use((bytes) => {
          writeAll(fd, bytes);
        });
      } finally {
        closeSync(fd);
      }
    }
  } catch (thrown) {
    for (const path of written) ifThere(() => erase(path));
    if (thrown instanceof LuksmithError || errnoOf(thrown) === undefined) throw thrown;
    throw failed(start, (thrown as Error).message, thrown);
  }
}

/**
 * Takes all passphrases of a start away, those files alone if some are named, and the directory once it is empty.
 * Idempotent. @throws HOST_SECRET_FAILED
 */
export function withdrawSecrets(start: Start, files = filesIn(start)): void {
  try {
    for (const file of files) erase(join(start.path, file));
  } catch (thrown) {
    if (errnoOf(thrown) === undefined) throw thrown;
    throw new LuksmithError("HOST_SECRET_FAILED", {
      what: `cannot take the passphrases of guest ${start.vmid} away from ${start.path}`,
      why: (thrown as Error).message,
      hint: "remove that directory; it is in memory, and gone after a reboot",
      cause: thrown,
    });
  }
  // others may write there now: then it stays; the one above it is for the guest's next start
  ifThere(() => {
    rmdirSync(start.path);
  });
}

/** Names of the files of a start. */
export function filesIn({ path }: Start): string[] {
  return ifThere(() => readdirSync(path)) ?? [];
}

/** Proves that what is written there stays in memory, and that nobody but root comes in. */
function prepare(start: Start): void {
  makeDirectory(start.path, 0o700);
  const stats = lstatSync(start.path);
  if (!stats.isDirectory() || stats.uid !== 0 || (stats.mode & 0o077) !== 0)
    throw failed(start, `${start.path} is not a directory of root's that others cannot enter`);
  if (!isInMemory(start.path))
    throw failed(start, `${start.path} is not on a tmpfs, and would lie on a disk`);
}

/** Overwrites the file and removes it; what is no file is removed only. */
function erase(path: string): void {
  const fd = ifThere(() => openSync(path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK));
  if (fd !== undefined) {
    try {
      writeAll(fd, Buffer.alloc(fstatSync(fd).size));
    } finally {
      closeSync(fd);
    }
  }
  try {
    unlinkSync(path);
  } catch (thrown) {
    // gone already: whoever started the guest has taken it away
    if (errnoOf(thrown) !== "ENOENT") throw thrown;
  }
}

function failed({ vmid }: Start, why: string, cause?: unknown): LuksmithError {
  return new LuksmithError("HOST_SECRET_FAILED", {
    what: `cannot give guest ${vmid} its passphrases`,
    why,
    hint: "mount a tmpfs with free space on /run, and run luksmith as root",
    ...(cause !== undefined && { cause }),
  });
}
