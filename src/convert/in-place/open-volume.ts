import { asLuksmithError, LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import { BlockDevice } from "../../storage/block/block-device.js";
import { RawImage } from "../../storage/raw/raw-image.js";
import type { PathVolume } from "../../storage/volume.js";
import { VolumeFile } from "../../storage/volume-file.js";
import type { VolumeLocks } from "../../storage/volume-lock.js";
import type { MovedVolume } from "./moved-volume.js";

/** A volume that is open for writing, and that nobody else writes to. */
export interface LockedVolume extends MovedVolume {
  /** @throws VOLUME_WRITE_FAILED, VOLUME_BUSY, VOLUME_NOT_FOUND where that is not so any more */
  assertHeld(): Promise<void>;
  /** Makes an image file `size` bytes long. @throws VOLUME_GROW_FAILED */
  resize(size: number): Promise<void>;
}

/**
 * Does `work` on the volume under its lock and QEMU's, as formatting has them.
 * @throws VOLUME_BUSY, VOLUME_NOT_FOUND, VOLUME_UNREADABLE, VOLUME_WRITE_FAILED, LOCK_TIMEOUT
 */
export async function withLockedVolume<T>(
  { kind, path }: PathVolume,
  { runner, locks }: { readonly runner: CommandRunner; readonly locks: VolumeLocks },
  work: (volume: LockedVolume) => Promise<T>,
): Promise<T> {
  const isFile = kind === "file";
  await using file = await VolumeFile.open(path, "read-write", isFile ? "regular file" : "block device");
  const image = isFile ? new RawImage(runner, file) : new BlockDevice(runner, file);
  return await locks.hold(image.identity, async (volumeLock) => {
    await using lock = await image.lock(volumeLock).catch((thrown: unknown) => {
      throw inTheseWords(thrown);
    });
    return await work({
      name: file.name,
      size: isFile ? await file.length() : file.size,
      read: (offset, length, into) => file.read(offset, length, into),
      write: (offset, bytes) => file.write(offset, bytes),
      // the storage has it then; that the kernel forgets what it has of the device is not needed here
      flush: () => file.syncData(),
      resize: (size) => file.extend(BigInt(size)),
      async assertHeld() {
        await lock.assertHeld();
        if (await file.isInPlace()) return;
        throw new LuksmithError("VOLUME_NOT_FOUND", {
          what: `cannot convert volume ${path}`,
          why: "it was moved, deleted or replaced meanwhile",
        });
      },
    });
  });
}

/** What formats volumes speaks of formatting them. */
export function inTheseWords(thrown: unknown): LuksmithError {
  const error = asLuksmithError(thrown);
  return new LuksmithError(error.code, {
    what: error.message.replace(/^cannot format volume /, "cannot convert volume "),
    ...(error.why !== undefined && { why: error.why }),
    ...(error.hint !== undefined && { hint: error.hint }),
    cause: error,
  });
}
