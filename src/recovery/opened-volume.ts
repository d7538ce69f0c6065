import type { Keyslots } from "../encryption/keyslots.js";
import type { LuksHeader } from "../encryption/luks-header.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { headerIn } from "../headers/header-in.js";
import type { Secret } from "../secret/secret.js";
import type { StorageRegistry } from "../storage/index.js";
import type { StorageBackend } from "../storage/storage-backend.js";
import { type Volume, volumeName } from "../storage/volume.js";

/** A volume that a passphrase was proven to open, whoever knows of it. */
export interface OpenedVolume {
  readonly backend: StorageBackend;
  readonly volume: Volume;
  /** With all keyslots, to its payload. */
  readonly bytes: Buffer;
  readonly header: LuksHeader;
  /** The one that opens. */
  readonly keyslot: number;
}

/** @throws PASSPHRASE_REJECTED, LUKS_HEADER_INVALID, VOLUME_NOT_FORMATTED and what keeps the volume from being read */
export async function openVolume(
  volume: Volume,
  passphrase: Secret,
  { storage, keyslots }: { readonly storage: StorageRegistry; readonly keyslots: Keyslots },
): Promise<OpenedVolume> {
  const backend = await storage.backendFor(volume);
  const bytes = await backend.readHeader(volume);
  const header = headerIn(bytes, volumeName(volume));
  const keyslot = await keyslots.find(bytes, passphrase);
  if (keyslot !== undefined) return { backend, volume, bytes, header, keyslot };
  throw new LuksmithError("PASSPHRASE_REJECTED", {
    what: `the passphrase opens no keyslot of ${volumeName(volume)}`,
    why: `keyslots ${keyslots.used(bytes).join(", ")} of its LUKS header (UUID ${header.uuid}) are in use`,
    hint: "see that passphrase and volume belong together: an escrow file has the UUID in its name",
  });
}
