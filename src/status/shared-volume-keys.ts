import type { Container } from "../di.js";
import { encryptedDisks, type EncryptedDisk } from "../disk-info/encrypted-disks.js";
import type { DiskInfo } from "../disk-info/disk-info.js";
import { volumeKeysIn } from "../encryption/volume-key.js";
import { asLuksmithError } from "../error/luksmith-error.js";
import { STORAGE } from "../tokens.js";
import type { StorageRegistry } from "../storage/index.js";
import { volumeName } from "../storage/volume.js";
import type { GuestStatus } from "./verdict.js";

interface Seen {
  readonly status: GuestStatus;
  /** Absent for a guest that could not be read. */
  readonly disks?: DiskInfo;
}

/**
 * The guests' status with `sameVolumeKey`: a copy that was given a key of its own still has the volume key of the
 * original, and who could ever open one of them can read the other. Disks that share one volume are no copies.
 */
export async function withSharedVolumeKeys(
  container: Container,
  seen: readonly Seen[],
): Promise<GuestStatus[]> {
  const storage = container.resolve(STORAGE);
  const users = new Map<string, Map<string, Set<string>>>();
  const keysOf = new Map<string, readonly string[]>();
  for (const { status, disks } of seen) {
    for (const disk of disks === undefined
      ? []
      : encryptedDisks({ name: status.name, disks }, { withHeader: true })) {
      // linked clones have their template's header by design, and nothing that opens one opens less of the other
      if (disk.linkedClone) continue;
      const [name, volume] = [`${status.name} ${disk.dev}`, volumeName(disk.volume)];
      const keys = await volumeKeysOn(disk, storage);
      keysOf.set(`${status.id} ${disk.dev}`, keys);
      for (const key of keys) {
        const volumes = users.get(key) ?? new Map<string, Set<string>>();
        users.set(key, volumes.set(volume, (volumes.get(volume) ?? new Set()).add(name)));
      }
    }
  }
  return seen.map(({ status }) => ({
    ...status,
    disks: status.disks.map((disk) => {
      const keys = keysOf.get(`${status.id} ${disk.device}`) ?? [];
      const others = keys.flatMap((key) =>
        [...(users.get(key) ?? [])].flatMap(([volume, names]) => (volume === disk.volume ? [] : [...names])),
      );
      return others.length === 0 ? disk : { ...disk, sameVolumeKey: [...new Set(others)] };
    }),
  }));
}

/** None of a volume that cannot be read: its verdict says so. */
async function volumeKeysOn({ volume }: EncryptedDisk, storage: StorageRegistry): Promise<readonly string[]> {
  try {
    return volumeKeysIn(await (await storage.backendFor(volume)).readHeader(volume));
  } catch (thrown) {
    asLuksmithError(thrown);
    return [];
  }
}
