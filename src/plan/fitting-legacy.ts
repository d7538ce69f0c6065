import { existsSync } from "node:fs";
import type { DiskMapping } from "../disk-info/disk-info.js";
import type { Guest } from "../host/host-adapter.js";
import type { EncryptionRequest } from "../request/ask.js";
import { isLegacyAlone } from "../request/legacy.js";
import { novasVolumeName } from "../request/novas-mapping.js";
import type { StorageRegistry } from "../storage/index.js";

type Requests = ReadonlyMap<string, EncryptionRequest>;

/**
 * The requests without those that the legacy settings alone make of a device which only looks like a logical volume:
 * a RAID, a replicated or a multipath one. No device is looked at where they make none.
 */
export async function withFittingLegacy(
  guest: Pick<Guest, "disks">,
  requests: Requests,
  storage: Pick<StorageRegistry, "findBackend">,
): Promise<Requests> {
  const fitting = new Map<string, EncryptionRequest>();
  for (const [dev, request] of requests) {
    const disk = guest.disks.mapping[dev];
    const isDoubtful = disk !== undefined && isLegacyAlone(request);
    if (!isDoubtful || (await isMeant(disk, storage))) fitting.set(dev, request);
  }
  return fitting;
}

async function isMeant(
  { mapping, volume }: DiskMapping,
  storage: Pick<StorageRegistry, "findBackend">,
): Promise<boolean> {
  if (mapping !== undefined) return true;
  // nobody but us is left to open it, and only once it is adopted: the refusal says so
  if (volume.kind === "block" && novasVolumeName(volume) !== undefined && !existsSync(volume.path))
    return true;
  const backend = await storage.findBackend(volume);
  return backend?.formats.includes("plain") === true;
}
