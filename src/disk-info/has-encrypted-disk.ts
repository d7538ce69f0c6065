import type { DiskInfo } from "./disk-info.js";

/**
 * Whether a guest has data that lie encrypted on this host: also behind a foreign block, and under a plain overlay, such
 * as the file of a snapshot.
 */
export function hasEncryptedDisk({ mapping }: DiskInfo): boolean {
  return Object.values(mapping).some(
    ({ encrypted, backingSecretUuids }) => encrypted || backingSecretUuids !== undefined,
  );
}
