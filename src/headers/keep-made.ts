import { asLuksmithError, type LuksmithError } from "../error/luksmith-error.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { StorageBackend } from "../storage/storage-backend.js";
import { type Volume, volumeName } from "../storage/volume.js";
import type { HeaderVault } from "./header-vault.js";

export interface MadeVolume {
  readonly backend: StorageBackend;
  readonly volume: Volume;
  readonly uuid: KeyUuid;
}

/**
 * Keeps a copy of the header of a volume that was just formatted. The volume is good without it, and its guest is not
 * to wait for a directory that is full: then it is a warning.
 */
export async function keepMade(
  { backend, volume, uuid }: MadeVolume,
  vault: Pick<HeaderVault, "keep">,
  warn: (message: string, error: LuksmithError) => void,
): Promise<void> {
  try {
    const header = await backend.readHeader(volume);
    await vault.keep({ uuid, volume: volumeName(volume), header, reason: "made" });
  } catch (thrown) {
    const text = `there is no copy of the LUKS header of ${volumeName(volume)}: luksmith header backup makes one`;
    warn(text, asLuksmithError(thrown));
  }
}
