import type { CommandRunner } from "../../exec/command-runner.js";
import { RawImage } from "./raw-image.js";
import { cryptSector, payloadSize, roundUp } from "../sectors.js";
import type { GrowRequest } from "../storage-backend.js";
import { refuseShrinking, volumeReplaced } from "../volume-error.js";
import { VolumeFile } from "../volume-file.js";
import type { VolumeLocks } from "../volume-lock.js";

/**
 * `StorageBackend.grow` for a raw image file. QEMU enlarges the file itself while a guest runs, unless it never opens
 * it: under a LUKS2 header, dm-crypt does.
 */
export async function growFile(
  path: string,
  { header, guestSize: asked, guest }: GrowRequest,
  { runner, locks }: { readonly runner: CommandRunner; readonly locks: VolumeLocks },
): Promise<bigint> {
  const guestSize = roundUp(asked, cryptSector(header));
  const wanted = guestSize + BigInt(header.payloadOffset);
  const byQemu = guest === "running" && header.version === 1;
  await using file = await VolumeFile.open(path, byQemu ? "read" : "read-write");
  const image = new RawImage(runner, file);
  return await locks.hold(image.identity, async (volumeLock) => {
    const size = BigInt(await file.length());
    refuseShrinking(path, payloadSize(size, header), guestSize);
    if (byQemu || size >= wanted) return guestSize;
    await using lock = await image.lock(volumeLock);
    if (!(await file.isInPlace())) throw volumeReplaced(path);
    // somebody may have enlarged it before the lock was held
    refuseShrinking(path, payloadSize(BigInt(await file.length()), header), guestSize);
    await lock.assertHeld();
    await file.extend(wanted);
    return guestSize;
  });
}
