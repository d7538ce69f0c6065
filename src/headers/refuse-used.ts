import type { DiskMapping } from "../disk-info/disk-info.js";
import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
import { printable } from "../error/printable.js";
import { shellWord } from "../error/shell-word.js";
import type { Guest, HostAdapter } from "../host/host-adapter.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { guestWord } from "../plan/commands.js";
import { isSameVolume } from "../plan/same-volume.js";
import { type Volume, volumeName } from "../storage/volume.js";

type Host = Pick<HostAdapter, "listGuests" | "readGuest" | "readRunningGuest" | "identified">;

/**
 * Lets a header be written to a volume only if no guest of this host runs with it, and none has it without this key in
 * its configuration: the volume of such a guest holds what it has written, and no LUKS container.
 * @throws GUEST_RUNNING, VOLUME_NOT_EMPTY, and what keeps a guest from being read
 */
export async function refuseUsed(
  host: Host,
  target: { readonly volume: Volume; readonly uuid: KeyUuid },
): Promise<void> {
  for (const summary of await host.listGuests()) {
    const running = summary.running ? await host.readRunningGuest(summary).catch(unlessGone) : undefined;
    const disk = running && (await diskWith(running, target));
    if (disk !== undefined) throw runs(target.volume, summary.name, disk.dev);
    const named = await host.readGuest(summary.id).catch(unlessGone);
    const configured = named && (await diskWith(named, target));
    if (named === undefined || configured === undefined) continue;
    if (!mayHave(configured, target.uuid, host)) throw hasItPlain(target, named, configured.dev);
  }
}

function mayHave(
  { encrypted, encryption_secret_uuid: own }: DiskMapping,
  uuid: KeyUuid,
  host: Host,
): boolean {
  if (!encrypted) return false;
  // a host manager whose configuration names no keys knows them by the header, which is what is lost
  return own === undefined ? host.identified !== undefined : own === uuid;
}

async function diskWith({ disks }: Guest, { volume }: { readonly volume: Volume }) {
  for (const disk of Object.values(disks.mapping)) if (await isSameVolume(disk, { volume })) return disk;
  return undefined;
}

/** Nor has a transient guest a configuration. */
function unlessGone(thrown: unknown): undefined {
  if (asLuksmithError(thrown).code !== "GUEST_NOT_FOUND") throw thrown;
}

/** QEMU has read the header that is there, and would go on with another volume key. */
function runs(volume: Volume, guest: string, dev: string): LuksmithError {
  return new LuksmithError("GUEST_RUNNING", {
    what: `cannot restore the LUKS header of ${volumeName(volume)}`,
    why: `guest ${printable(guest)} runs with it as ${printable(dev)}`,
    hint: "shut it off first; a guest that runs has no need of the header, so save its data before",
  });
}

function hasItPlain(
  { volume, uuid }: { readonly volume: Volume; readonly uuid: KeyUuid },
  guest: Guest,
  dev: string,
): LuksmithError {
  return new LuksmithError("VOLUME_NOT_EMPTY", {
    what: `cannot restore the LUKS header of ${volumeName(volume)}`,
    why: `guest ${printable(guest.name)} has it as ${printable(dev)} without key ${uuid}: what is there is the guest's data, or another key's`,
    hint: `if the guest's configuration is what is wrong, give disk ${shellWord(dev)} its encryption block back first: virsh edit ${guestWord(guest)}`,
  });
}
