import { claimedLuksUuid } from "../encryption/luks-header.js";
import { asLuksmithError } from "../error/luksmith-error.js";
import type { HeaderVault } from "../headers/header-vault.js";
import { isLeftOf } from "../headers/left-of-header.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { StorageRegistry } from "../storage/index.js";
import type { Probe } from "../storage/storage-backend.js";
import type { Volume } from "../storage/volume.js";
import { isZero } from "../storage/zero.js";

export interface DamagedHeaderPorts {
  readonly storage: StorageRegistry;
  readonly headers: HeaderVault;
}

/**
 * What is left of the key's header on a volume that no longer shows one: as many bytes as the copies that this host
 * keeps have, some of whose key material is still there. Undefined where nothing proves that. Changes nothing.
 * @throws what keeps the volume from being read
 */
export async function damagedHeader(
  { volume, key, probe }: { readonly volume: Volume; readonly key: KeyUuid; readonly probe: Probe },
  { storage, headers }: DamagedHeaderPorts,
): Promise<Buffer | undefined> {
  if (["luks", "absent", "unreadable"].includes(probe.kind)) return undefined;
  const backend = await storage.backendFor(volume);
  for (const copy of headers.backups(key)) {
    const header = headers.read(copy);
    let found: Buffer | undefined;
    const look = (now: Buffer) => {
      const claimed = claimedLuksUuid(now) ?? key;
      if (claimed === key && !isZero(now) && isLeftOf(now, header)) found = Buffer.from(now);
      return Promise.resolve([]);
    };
    await backend.changeHeader(volume, header.length, look).catch(unlessTooSmall);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** There is no room for a header: none is left there. */
function unlessTooSmall(thrown: unknown): void {
  const { code } = asLuksmithError(thrown);
  if (code !== "VOLUME_TOO_SMALL" && code !== "VOLUME_UNSUPPORTED") throw thrown;
}
