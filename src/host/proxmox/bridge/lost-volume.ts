import { LuksmithError } from "../../../error/luksmith-error.js";
import type { ProxmoxStorage } from "../../../generated/proxmox-storage.js";
import type { Keystore } from "../../../keystore/keystore.js";
import { volumeName } from "../../../storage/volume.js";
import { baseMark } from "../base/base-mark.js";
import type { BaseStorage } from "../base/base-storage.js";

/**
 * A directory whose file system is not mounted is there too, and empty: a volume that was made in it now would be
 * hidden by the mount, or hide the one that has this name. So the name of a volume whose key is in use is refused there.
 * Other bases answer nothing while they are away. Keys are listed, which takes its time, only where a directory does
 * not look like one that has our volumes.
 * @throws VOLUME_EXISTS, and what keeps the keystore from listing its keys
 */
export async function refuseLostVolume(
  { id, base: place }: Pick<ProxmoxStorage, "id" | "base">,
  base: BaseStorage,
  name: string,
  keystore: Keystore,
): Promise<void> {
  if (place.type !== "directory" || (await looksMounted(place.path, base))) return;
  const volume = volumeName(base.volume(name));
  const records = await keystore.find({ volume, state: "active" });
  const lost = records.find(({ freedAt }) => freedAt === undefined);
  if (lost === undefined) return;
  throw new LuksmithError("VOLUME_EXISTS", {
    what: `cannot make volume ${name} on storage ${id}`,
    why: `key ${lost.uuid} is in use for a volume of this name, which is not there now`,
    hint: `mount the base of storage ${id}; if the volume is gone for good: luksmith keys delete ${lost.uuid}`,
  });
}

/** Its mark alone may have been left in the mountpoint. */
async function looksMounted(directory: string, base: BaseStorage): Promise<boolean> {
  return baseMark(directory) !== undefined && (await base.list()).length > 0;
}
