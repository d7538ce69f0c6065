import type { DiskMapping } from "../disk-info/disk-info.js";
import { keyOfMapping } from "../encryption/dm-crypt/mapping-name.js";
import { asLuksmithError } from "../error/luksmith-error.js";
import type { Guest, HostAdapter } from "../host/host-adapter.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { isSameVolume, mappingOf } from "./same-volume.js";

/** A disk of a guest of this host that has a volume which is to be given to another one. */
export interface VolumeUser {
  readonly guest: string;
  readonly disk: string;
  /** What it was known by: the volume itself, or the key that opens it, which a copy of the volume has as well. */
  readonly by: "volume" | "key";
}

export interface Wanted extends Pick<DiskMapping, "dev" | "volume" | "mapping"> {
  /** The key of its annotation or of its LUKS header, where it has one. */
  readonly uuid: KeyUuid | undefined;
}

type Host = Pick<HostAdapter, "listGuests" | "readRunningGuest">;

/**
 * The first disk of a guest that runs on this host, or of this guest under another device name, that has the volume or
 * is opened with its key. @throws what keeps a guest from being read
 */
export async function findVolumeUser(
  host: Host,
  guest: Guest,
  wanted: Wanted,
): Promise<VolumeUser | undefined> {
  const own = await userIn(guest, guest, wanted);
  if (own !== undefined) return own;
  for (const summary of await host.listGuests()) {
    if (!summary.running) continue;
    const other = await host.readRunningGuest(summary).catch(unlessGone);
    const user = other && (await userIn(other, guest, wanted));
    if (user !== undefined) return user;
  }
  return undefined;
}

/**
 * The first disk of any other guest's persistent configuration, whether that runs or not, that has the volume or is
 * opened with its key. Of a transient guest there is none. @throws what keeps a guest from being read
 */
export async function findConfiguredUser(
  host: Pick<HostAdapter, "listGuests" | "readGuest">,
  guest: Guest,
  wanted: Wanted,
): Promise<VolumeUser | undefined> {
  for (const { id } of await host.listGuests()) {
    if (id === guest.id) continue;
    const other = await host.readGuest(id).catch(unlessGone);
    const user = other && (await userIn(other, guest, wanted));
    if (user !== undefined) return user;
  }
  return undefined;
}

/** Either of them: whoever runs with it on this host, or would. @throws what keeps a guest from being read */
export async function findUser(
  host: Pick<HostAdapter, "listGuests" | "readGuest" | "readRunningGuest">,
  guest: Guest,
  wanted: Wanted,
): Promise<VolumeUser | undefined> {
  return (await findVolumeUser(host, guest, wanted)) ?? (await findConfiguredUser(host, guest, wanted));
}

/** One that has gone meanwhile uses nothing. */
function unlessGone(thrown: unknown): undefined {
  if (asLuksmithError(thrown).code !== "GUEST_NOT_FOUND") throw thrown;
}

async function userIn(guest: Guest, own: Guest, wanted: Wanted): Promise<VolumeUser | undefined> {
  for (const disk of Object.values(guest.disks.mapping)) {
    if (guest.id === own.id && disk.dev === wanted.dev) continue;
    const user = { guest: guest.name, disk: disk.dev };
    if (await isSameVolume(disk, wanted)) return { ...user, by: "volume" };
    if (wanted.uuid !== undefined && keysOf(disk).includes(wanted.uuid)) return { ...user, by: "key" };
  }
  return undefined;
}

function keysOf(disk: DiskMapping): (KeyUuid | undefined)[] {
  // a running configuration may not tell what lies under a mapping; its name does
  return [
    disk.encryption_secret_uuid,
    keyOfMapping(mappingOf(disk) ?? ""),
    ...(disk.backingSecretUuids ?? []),
  ];
}
