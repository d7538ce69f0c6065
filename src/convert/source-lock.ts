import { LuksmithError } from "../error/luksmith-error.js";
import type { CommandRunner } from "../exec/command-runner.js";
import { BlockDevice } from "../storage/block/block-device.js";
import { lockImage } from "../storage/image-lock.js";
import type { PathVolume } from "../storage/volume.js";
import { VolumeFile } from "../storage/volume-file.js";

/**
 * Keeps QEMU from writing to a volume that is read, until it is disposed of or this process ends: no guest can be
 * started on it. On a device only a QEMU that sees the same node is kept off.
 * @param lock is inherited by whoever holds it @throws VOLUME_BUSY, VOLUME_WRITE_FAILED, VOLUME_NOT_FOUND
 */
export async function lockSource(
  volume: PathVolume,
  lock: number,
  runner: CommandRunner,
): Promise<AsyncDisposable> {
  const opened = await open(volume, lock, runner);
  try {
    const held = await opened.lock();
    return {
      async [Symbol.asyncDispose]() {
        await held[Symbol.asyncDispose]();
        await opened.close();
      },
    };
  } catch (thrown) {
    await opened.close();
    throw refused(volume, thrown);
  }
}

interface Lockable {
  readonly lock: () => Promise<AsyncDisposable>;
  readonly close: () => Promise<void>;
}

async function open({ kind, path }: PathVolume, lock: number, runner: CommandRunner): Promise<Lockable> {
  if (kind === "block") {
    const device = await BlockDevice.open(runner, path, "read");
    return { lock: () => device.lock(lock), close: () => device[Symbol.asyncDispose]() };
  }
  const file = await VolumeFile.open(path, "read");
  return { lock: () => lockImage(runner, file, lock), close: () => file[Symbol.asyncDispose]() };
}

/** What locks says that it cannot format. */
function refused({ path }: PathVolume, thrown: unknown): unknown {
  if (!(thrown instanceof LuksmithError) || thrown.code !== "VOLUME_BUSY") return thrown;
  return new LuksmithError("VOLUME_BUSY", {
    what: `cannot copy volume ${path} while somebody writes to it`,
    ...(thrown.why !== undefined && { why: thrown.why }),
    hint: "stop the guest, the block job or the program that uses it",
    cause: thrown,
  });
}
