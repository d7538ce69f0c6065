import type { CommandRunner } from "../../exec/command-runner.js";
import { RawImage } from "./raw-image.js";
import { wholeSectors } from "../sectors.js";
import type { GrowRequest } from "../storage-backend.js";
import { refuseShrinking, volumeReplaced } from "../volume-error.js";
import { VolumeFile } from "../volume-file.js";
import type { VolumeLocks } from "../volume-lock.js";

/** `StorageBackend.grow` for a raw image file: QEMU enlarges the file itself while a guest runs. */
export async function growFile(
  path: string,
  { header, guestSize: asked, guest }: GrowRequest,
  { runner, locks }: { readonly runner: CommandRunner; readonly locks: VolumeLocks },
): Promise<bigint> {
  const guestSize = wholeSectors(asked);
  const payloadOffset = BigInt(header.payloadOffset);
  await using file = await VolumeFile.open(path, guest === "running" ? "read" : "read-write");
  const image = new RawImage(runner, file);
  return await locks.hold(image.identity, async (volumeLock) => {
    const size = BigInt(await file.length());
    refuseShrinking(path, wholeSectors(size) - payloadOffset, guestSize);
    if (guest === "running" || size === guestSize + payloadOffset) return guestSize;
    await using lock = await image.lock(volumeLock);
    if (!(await file.isInPlace())) throw volumeReplaced(path);
    // somebody may have enlarged it before the lock was held
    refuseShrinking(path, wholeSectors(BigInt(await file.length())) - payloadOffset, guestSize);
    await lock.assertHeld();
    await file.extend(guestSize + payloadOffset);
    return guestSize;
  });
}
