import { setTimeout } from "node:timers/promises";
import { endExport, userOf } from "./end-export.js";
import { type ExportName, ExportPlace } from "./export-place.js";
import type { ExportResources } from "./resources.js";

/**
 * Ends the export; one that is gone is success. What was written through it is on the volume afterwards.
 * @throws VOLUME_BUSY if a process has the file open, LOCK_TIMEOUT
 */
export async function closeExport(name: ExportName, resources: ExportResources): Promise<void> {
  const place = new ExportPlace(resources.places, name);
  await resources.locks.hold(place.lock, async () => {
    if (SAVED_MEMORY.test(name.volume)) await letGo(place);
    await endExport(place, resources, "unless it is used");
  });
}

/** QEMU closes it by itself a moment after Proxmox VE takes it for done. */
const SAVED_MEMORY = /^vm-[0-9]+-state-/;
/** Milliseconds. */
const PATIENCE = 5000;
const PAUSE = 200;

async function letGo(place: ExportPlace): Promise<void> {
  for (let waited = 0; waited < PATIENCE && userOf(place) !== undefined; waited += PAUSE)
    await setTimeout(PAUSE);
}
