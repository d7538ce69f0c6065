import { LuksmithError } from "../../../error/luksmith-error.js";
import { PAYLOAD_OFFSET } from "../../../encryption/luks-header.js";
import type { RawVolume } from "../../../storage/raw-luks/raw-volume.js";
import type { VolumeLocks } from "../../../storage/volume-lock.js";

/**
 * Overwrites the LUKS header of a volume that is open for writing, under its lock and QEMU's.
 * @throws VOLUME_BUSY, VOLUME_WRITE_FAILED
 */
export async function eraseHeader(volume: RawVolume, locks: VolumeLocks): Promise<void> {
  await locks.hold(volume.identity, async (volumeLock) => {
    await using lock = await volume.lock(volumeLock);
    await lock.assertHeld();
    await volume.write(0, Buffer.alloc(Math.min(volume.size, PAYLOAD_OFFSET)));
    await volume.sync();
  });
}

/** @throws VOLUME_BUSY, VOLUME_WRITE_FAILED */
export async function requireLockable(volume: RawVolume, locks: VolumeLocks): Promise<void> {
  await locks.hold(volume.identity, async (volumeLock) => {
    await using lock = await volume.lock(volumeLock);
    await lock.assertHeld();
  });
}

/**
 * Has an error of storage say what was to be done: `cannot remove volume …`.
 * @param failure what it means that a tool failed
 */
export function saying(
  what: string,
  failure: "VOLUME_WRITE_FAILED" | "VOLUME_UNREADABLE" = "VOLUME_WRITE_FAILED",
): (thrown: unknown) => never {
  return (thrown) => {
    if (!(thrown instanceof LuksmithError)) throw thrown;
    const { message, why = message, hint } = thrown;
    const code = thrown.code === "TOOL_FAILED" ? failure : thrown.code;
    // what a format says there is not true of this
    const advice = code === "VOLUME_WRITE_FAILED" ? "put this right and try again" : hint;
    const text = { what, why, cause: thrown, ...(advice === undefined ? {} : { hint: advice }) };
    throw new LuksmithError(code, text);
  };
}

/** Nothing to do at the end. */
export const NOTHING_TO_DO: AsyncDisposable = { [Symbol.asyncDispose]: () => Promise.resolve() };
