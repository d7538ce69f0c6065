import { drivesOf } from "../../../disk-info/from-vm-config.js";
import { LuksmithError } from "../../../error/luksmith-error.js";
import { printable } from "../../../error/printable.js";
import type { AllowRequest } from "../../../generated/bridge-request.js";
import { parseDriveName } from "../../../guest-config/proxmox/drive.js";
import type { VmOptions } from "../../../guest-config/proxmox/vm-config.js";
import { protectCommand } from "../../../plan/commands.js";
import { resolveRequests } from "../../../request/resolve.js";
import type { Guest } from "../../host-adapter.js";
import { ProxmoxGuests } from "../guests.js";
import type { BridgeResources, BridgeResult } from "./resources.js";

/**
 * Judges the disk that is named alone: what else is wrong with a guest that runs is a matter of its next start. An
 * encrypted one is opened afterwards, and is found out then if it is not what it seems.
 * @throws DISK_NOT_ENCRYPTED, STORAGE_CHANGED, REQUEST_CONFLICT, PROFILE_UNKNOWN, GUEST_CONFIG_INVALID,
 *   EVENT_INVALID for a disk that the configuration does not have
 */
export async function allow(
  { vmid, config, disk }: AllowRequest,
  { settings, places }: Pick<BridgeResources, "settings" | "places">,
): Promise<BridgeResult> {
  await Promise.resolve();
  const guest = new ProxmoxGuests(places).of(String(vmid), withOnly(disk, vmid, config));
  const requests = resolveRequests(guest, settings);
  const bare = Object.values(guest.disks.mapping).filter(
    ({ dev, encrypted }) => requests.has(dev) && !encrypted,
  );
  const [first] = bare;
  if (first === undefined) return {};
  throw new LuksmithError("DISK_NOT_ENCRYPTED", {
    what: `cannot give guest ${printable(guest.name)} disk ${first.dev}: ${printable(disk)} is not encrypted, and must be`,
    why: `asked for by ${requests.get(first.dev)?.askedBy.join(" and ") ?? "the settings"}`,
    hint: hintFor(guest, first.dev),
  });
}

/** The configuration without its other disks, and those that come by arguments for QEMU. */
function withOnly(disk: string, vmid: number, config: VmOptions): VmOptions {
  const named = new Set(drivesOf(config).flatMap(({ dev, file }) => (file === disk ? [dev] : [])));
  if (named.size === 0)
    throw new LuksmithError("EVENT_INVALID", {
      what: `cannot tell whether guest ${vmid} may have ${printable(disk)}`,
      why: "the configuration that came with the question has no such disk",
      hint: "the plugin and the engine must be of one version: install the package anew on this node",
    });
  const kept = Object.entries(config).filter(
    ([name]) =>
      named.has(name) || (parseDriveName(name) === undefined && name !== "args" && name !== "vmstate"),
  );
  return Object.fromEntries(kept);
}

/** It is none of the guest's yet, unless it is the one that moves. */
function hintFor({ id, encryptedStorages = [] }: Guest, dev: string): string {
  const [storage] = encryptedStorages;
  if (storage === undefined) return protectCommand({ id, name: id, encryptedStorages }, [dev]);
  return `use a volume on encrypted storage ${storage}: for a new disk, qm set ${id} --${dev} ${storage}:SIZE (in GiB); for one that moves, qm disk move ${id} ${dev} ${storage} --delete 1; for one that exists, add it while the guest is shut off, and move it`;
}
