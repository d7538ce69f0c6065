import { existsSync } from "node:fs";
import { join } from "node:path";
import type { ProxmoxPlaces } from "../places.js";
import type { BridgeResources } from "./resources.js";

interface Named {
  readonly storage: { readonly id: string };
  readonly volume: string;
}

/**
 * Ends the exports of a volume and of its snapshots, or of one snapshot alone.
 * @throws VOLUME_BUSY if a process has one of them open
 */
export async function closeExports(
  { storage, volume }: Named,
  resources: BridgeResources,
  snapshot?: string,
): Promise<void> {
  if (!hasExports(storage.id, resources.places)) return;
  const { listExports } = await import("../export/idle-exports.js");
  const { closeExport } = await import("../export/close-export.js");
  for (const { name } of listExports(resources.places)) {
    const isOurs = name.storage.id === storage.id && name.volume === volume;
    if (isOurs && (snapshot === undefined || name.snapshot === snapshot)) await closeExport(name, resources);
  }
}

/** Whether a process has the export of a volume open, not counting its snapshots'. */
export async function isExportUsed(
  { storage, volume }: Named,
  { places }: Pick<BridgeResources, "places">,
): Promise<boolean> {
  if (!hasExports(storage.id, places)) return false;
  const { listExports } = await import("../export/idle-exports.js");
  return listExports(places).some(
    ({ name, state }) =>
      name.storage.id === storage.id &&
      name.volume === volume &&
      name.snapshot === undefined &&
      state === "in use",
  );
}

/** Enlarges a volume that is exported. @returns whether it is */
export async function resizeIfExported(
  { storage, volume }: Named,
  guestSize: bigint,
  resources: BridgeResources,
): Promise<"enlarged" | "not exported"> {
  if (!hasExports(storage.id, resources.places)) return "not exported";
  const { resizeExport } = await import("../export/resize-export.js");
  return await resizeExport({ storage, volume }, guestSize, resources);
}

function hasExports(storage: string, { exports }: Pick<ProxmoxPlaces, "exports">): boolean {
  return existsSync(join(exports, storage));
}
