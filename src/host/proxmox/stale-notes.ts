import { parseVmConfig } from "../../guest-config/proxmox/vm-config.js";
import type { Guest } from "../host-adapter.js";
import { vmTags } from "./asks.js";

const TAG = "encrypted";
/** How the block in a VM's notes begins. */
const BLOCK = "<!-- luksmith begin -->";

/**
 * Whether tag and notes of a guest that starts are surely not what they should be; what this does not see, the reaper's
 * timer brings up to date. Pure. @param guest with its keys
 */
export function hasStaleNotes(
  { configuration, disks }: Guest,
  { annotate }: { readonly annotate: boolean },
): boolean {
  const { options } = parseVmConfig(configuration);
  const notes = options["description"] ?? "";
  if (!annotate) return notes.includes(BLOCK);
  const keys = Object.values(disks.mapping).flatMap((disk) => disk.encryption_secret_uuid ?? []);
  if (keys.length === 0) return notes.includes(BLOCK);
  return !vmTags(options).includes(TAG) || keys.some((uuid) => !notes.includes(uuid));
}
