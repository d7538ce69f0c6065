import type { SizeRequest } from "../../../generated/bridge-request.js";
import { baseOf } from "../base/index.js";
import { openVolume } from "./opened-volume.js";
import type { BridgeResources, BridgeResult } from "./resources.js";

/** What the volume's own header tells; no keystore is asked. @throws as `openVolume` */
export async function sizeOf(
  { storage, volume: name }: SizeRequest,
  resources: BridgeResources,
): Promise<BridgeResult> {
  await using opened = await openVolume(baseOf(storage, resources), name, resources.storage);
  const { backend, volume, header } = opened;
  return { uuid: header.uuid, size: Number(await backend.guestSize(volume, header)) };
}
