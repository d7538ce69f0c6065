import { PAYLOAD_OFFSET } from "../encryption/luks-header.js";
import { provesEmptiness, type StorageBackend } from "../storage/storage-backend.js";
import type { PathVolume } from "../storage/volume.js";
import { formatRefused } from "../storage/volume-error.js";
import { VolumeFile } from "../storage/volume-file.js";
import { tooSmall } from "./convert-errors.js";
import { requireSpace } from "./free-space.js";
import type { ConvertPlan } from "./plan-convert.js";

/** Of a volume that is still to be written. @throws VOLUME_ALLOCATE_FAILED, VOLUME_TOO_SMALL */
export async function requireTargetRoom(plan: ConvertPlan, size: bigint): Promise<void> {
  if (isWritten(plan)) return;
  await (plan.allocate ? requireSpaceFor(plan, size) : requireRoom(plan, size));
}

/** Whether an earlier try has verified its copy: nothing is done to the volume then. */
export function isWritten({ key, steps }: ConvertPlan): boolean {
  return key !== undefined && steps.format === undefined;
}

async function requireSpaceFor({ source, target, key, isOverlay }: ConvertPlan, size: bigint): Promise<void> {
  await requireSpace({
    source: source.volume,
    ...{ isOverlay, isEncrypted: source.key !== undefined, size },
    target: target.volume,
    toEncrypted: key !== undefined,
  });
}

/** Of a volume that is there. */
async function requireRoom(plan: ConvertPlan, size: bigint): Promise<void> {
  const { volume } = plan.target;
  // of an image, what it has is not what its file has
  if (volume.format !== "raw") return;
  const type = volume.kind === "file" ? "regular file" : "block device";
  await using file = await VolumeFile.open(volume.path, "read", type);
  const room = BigInt(file.size) - (plan.key === undefined ? 0n : BigInt(PAYLOAD_OFFSET));
  if (room < size) throw tooSmall(plan, room, size);
}

/** @throws VOLUME_NOT_EMPTY and what else the storage backend finds */
export async function requireEmpty(volume: PathVolume, backend: StorageBackend): Promise<void> {
  if (provesEmptiness(backend)) {
    await backend.requireEmpty(volume);
    return;
  }
  const probe = await backend.probe(volume, "read");
  if (probe.kind !== "empty") throw formatRefused(volume.path, probe);
}
