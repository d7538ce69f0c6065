import { randomBytes } from "node:crypto";
import { closeSync, existsSync, fsyncSync, ftruncateSync, linkSync, openSync, unlinkSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { errnoOf, LuksmithError } from "../error/luksmith-error.js";
import type { CommandRunner } from "../exec/command-runner.js";
import { syncDirectory } from "../fs/atomic-file.js";
import { temporaryName } from "../fs/leftovers.js";
import { systemErrorOf } from "../fs/system-error.js";
import type { Secret } from "../secret/secret.js";
import { secretFile } from "../secret/secret-file.js";
import { volumeName } from "../storage/volume.js";
import type { OpenedVolume } from "./opened-volume.js";

/** The size of a volume decides how long it takes. */
const NO_LIMIT = 0;

/**
 * Copies what the guest sees of a volume into a new raw file, decrypted, for root alone. The file has its name when all
 * of it is on stable storage.
 * @throws OUTPUT_EXISTS, OUTPUT_UNWRITABLE, TOOL_FAILED, VOLUME_UNSUPPORTED (LUKS2, which QEMU does not open)
 */
export async function copyOut(
  { backend, volume, header }: OpenedVolume,
  passphrase: Secret,
  target: string,
  runner: CommandRunner,
): Promise<bigint> {
  if (header.version === 2) throw unsupported(volumeName(volume));
  const path = resolve(target);
  requireFree(path);
  const size = await backend.guestSize(volume, header);
  const temporary = join(dirname(path), temporaryName(basename(path), randomBytes(8).toString("hex")));
  const fd = create(temporary, path);
  try {
    ftruncateSync(fd, Number(size));
    using key = secretFile(passphrase);
    await runner.run({
      tool: "qemu-img",
      args: [
        ...["convert", "-n", "-t", "writeback", "--object", "secret,id=key,file=/proc/self/fd/3"],
        ...["-O", "raw", "--", `json:${JSON.stringify(backend.qemuNode(volume, "key"))}`, "/proc/self/fd/4"],
      ],
      fds: [key.fd, fd],
      timeout: NO_LIMIT,
    });
    fsyncSync(fd);
    name(temporary, path);
    return size;
  } finally {
    closeSync(fd);
    unlinkSync(temporary);
  }
}

function create(temporary: string, path: string): number {
  try {
    return openSync(temporary, "wx+", 0o600);
  } catch (thrown) {
    throw unwritable(path, thrown);
  }
}

/** link(2) never replaces what somebody has put there meanwhile. */
function name(temporary: string, path: string): void {
  try {
    linkSync(temporary, path);
    syncDirectory(dirname(path));
  } catch (thrown) {
    if (errnoOf(thrown) === "EEXIST") throw exists(path);
    throw unwritable(path, thrown);
  }
}

function unwritable(path: string, thrown: unknown): unknown {
  const failure = systemErrorOf(thrown);
  if (failure === undefined) return thrown;
  return new LuksmithError("OUTPUT_UNWRITABLE", { what: `cannot write ${path}`, why: failure.text });
}

/** @throws OUTPUT_EXISTS */
export function requireFree(path: string): void {
  if (existsSync(path)) throw exists(path);
}

function exists(path: string): LuksmithError {
  return new LuksmithError("OUTPUT_EXISTS", {
    what: `${path} is there already`,
    why: "nothing is ever overwritten with what was recovered",
    hint: "choose another name",
  });
}

function unsupported(volume: string): LuksmithError {
  return new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `cannot copy ${volume} out`,
    why: "its LUKS header is of version 2, which QEMU does not open",
    hint: "write the passphrase with --write-key FILE, and: cryptsetup open --key-file FILE VOLUME NAME",
  });
}
