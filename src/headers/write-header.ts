import type { LuksPiece } from "../encryption/luks-image.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { StorageBackend } from "../storage/storage-backend.js";
import { type Volume, volumeName } from "../storage/volume.js";

/**
 * Writes what was made for this very header, if the volume has it still: deriving a key takes seconds, and what others
 * have changed meanwhile is not undone. @throws VOLUME_BUSY, and as `changeHeader`
 */
export async function writeToHeader(
  { backend, volume }: { readonly backend: Pick<StorageBackend, "changeHeader">; readonly volume: Volume },
  header: Buffer,
  pieces: readonly LuksPiece[],
): Promise<void> {
  await backend.changeHeader(volume, header.length, (now) => {
    if (now.equals(header)) return Promise.resolve(pieces);
    throw new LuksmithError("VOLUME_BUSY", {
      what: `the LUKS header of ${volumeName(volume)} has changed meanwhile`,
      why: "somebody else, on another host perhaps, changes its keyslots at the same time",
      hint: "nothing was written; run it again when that has ended",
    });
  });
}
