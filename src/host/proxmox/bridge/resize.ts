import { existsSync } from "node:fs";
import { LuksmithError } from "../../../error/luksmith-error.js";
import type { ResizeRequest } from "../../../generated/bridge-request.js";
import { Secret } from "../../../secret/secret.js";
import { volumeName } from "../../../storage/volume.js";
import { baseOf } from "../base/index.js";
import { ExportPlace } from "../export/export-place.js";
import { isExportUsed, resizeIfExported } from "./exports.js";
import { openVolume } from "./opened-volume.js";
import { recordedChange } from "./record-change.js";
import type { BridgeResources, BridgeResult } from "./resources.js";
import { settleKeyOf } from "./settle-key.js";

/**
 * Never makes it smaller. What the QEMU of a running guest enlarges by itself is left to it; a volume that is exported
 * is enlarged by its storage daemon.
 * @throws as `openVolume`, `StorageBackend.grow` and `resizeExport`; VOLUME_BUSY for what a running guest has open
 *   through an export, before anything is made larger
 */
export async function resize(request: ResizeRequest, resources: BridgeResources): Promise<BridgeResult> {
  const { storage, volume: name, size, running } = request;
  if (running && (await isExportUsed(request, resources))) throw openedThroughExport(storage.id, name);
  await using opened = await openVolume(baseOf(storage, resources), name, resources.storage);
  const { backend, volume, header } = opened;
  await settleKeyOf(header.uuid, resources);
  // raw volumes grow without it
  using passphrase = Secret.own(Buffer.alloc(0));
  const grow = (guest: "running" | "stopped") =>
    backend.grow({ volume, header, guestSize: BigInt(size), passphrase, guest });
  const isExported = existsSync(new ExportPlace(resources.places, request).image);
  const change = { event: "resize", key: header.uuid, disk: name, volume: volumeName(volume) } as const;
  return await recordedChange(change, resources, async () => {
    const grown = await grow(running || isExported ? "running" : "stopped");
    if (!isExported) return { size: Number(grown) };
    const answer = await resizeIfExported(request, grown, resources);
    // what a daemon that died has left
    if (answer === "not exported" && !running) await grow("stopped");
    return { size: Number(grown) };
  });
}

/** Proxmox VE then tells the guest's QEMU to enlarge what it has open, and QEMU wants to enlarge a FUSE file itself. */
function openedThroughExport(storage: string, volume: string): LuksmithError {
  return new LuksmithError("VOLUME_BUSY", {
    what: `cannot enlarge volume ${storage}:${volume} while its guest runs`,
    why: "the guest has it open through an export, as with machine versions below 10.0 and on Proxmox VE 8, and QEMU cannot enlarge that",
    hint: "stop the guest, enlarge the disk, and start it again; nothing was changed",
  });
}
