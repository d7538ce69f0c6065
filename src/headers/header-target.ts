import { requireEncryptedDisks } from "../disk-info/encrypted-disks.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { printable } from "../error/printable.js";
import type { ConfiguredGuest, HostAdapter } from "../host/host-adapter.js";
import { type KeyUuid, parseKeyUuid } from "../keystore/key-uuid.js";
import { volumeArgument, type GivenFormat } from "../storage/volume-argument.js";
import type { StorageBackend } from "../storage/storage-backend.js";
import { type Volume, volumeName } from "../storage/volume.js";
import type { KeyslotPorts } from "./keyslot-ports.js";

/** A volume whose header is looked at, kept or restored. */
export interface HeaderTarget {
  readonly volume: Volume;
  /** Absent where nobody knows it: no guest, no header, no copy. */
  readonly uuid?: KeyUuid;
  readonly guest?: Pick<ConfiguredGuest, "id" | "name" | "running" | "saved">;
  /** Device name. */
  readonly disk?: string;
}

/** What a person calls it. */
export interface Called {
  /** A guest's name or id, the path or name of a volume, or the UUID of a key. */
  readonly what: string;
  /** Of a guest; without it, all that have a LUKS header. */
  readonly disk?: string;
  /** Of a volume whose own bytes do not tell it. */
  readonly format?: GivenFormat;
}

export interface TargetPorts extends Pick<KeyslotPorts, "keyring" | "storage" | "vault"> {
  readonly host: Pick<HostAdapter, "readGuest" | "identified">;
}

/** @throws GUEST_NOT_FOUND, DISK_NOT_FOUND, DISK_NOT_ENCRYPTED, VOLUME_NOT_FOUND, USAGE, KEY_NOT_FOUND */
export async function headerTargets(ports: TargetPorts, called: Called): Promise<HeaderTarget[]> {
  const { what, disk, format } = called;
  if (what.startsWith("/") || what.startsWith("rbd:")) {
    const volume = volumeArgument(what, format);
    return [await withUuid(ports, { volume })];
  }
  const guest = await guestCalled(ports, what);
  if (guest !== undefined) return disksOf(guest, disk);
  const uuid = parseKeyUuid(what);
  if (uuid === undefined) {
    throw new LuksmithError("GUEST_NOT_FOUND", {
      what: `there is no guest "${printable(what)}"`,
      hint: "name a guest, the path of a volume, or the UUID of a key",
    });
  }
  return [{ volume: volumeArgument(await volumeOfKey(ports, uuid), format), uuid }];
}

async function guestCalled({ host }: TargetPorts, what: string): Promise<ConfiguredGuest | undefined> {
  try {
    const guest = await host.readGuest(what);
    // one whose header is lost cannot be identified, and is named by its volume or key then
    const { disks } = (await host.identified?.(guest).catch(() => guest)) ?? guest;
    return { ...guest, disks };
  } catch (thrown) {
    // the UUID of a key is no guest's
    if (thrown instanceof LuksmithError && thrown.code === "GUEST_NOT_FOUND") return undefined;
    throw thrown;
  }
}

function disksOf(guest: ConfiguredGuest, disk: string | undefined): HeaderTarget[] {
  const { id, name, running, saved } = guest;
  const choice = { withHeader: true, ...(disk !== undefined && { wanted: [disk] }) };
  return requireEncryptedDisks(guest, choice).map(({ volume, dev, encryption_secret_uuid: uuid }) => {
    return { volume, disk: dev, guest: { id, name, running, saved }, uuid };
  });
}

/** By its header, damaged as it may be; else by the copies that were taken from a volume of this name. */
async function withUuid(
  { storage, vault }: TargetPorts,
  target: { readonly volume: Volume },
): Promise<HeaderTarget> {
  const backend = await storage.backendFor(target.volume);
  const claimed = await claimedBy(backend, target.volume);
  const uuid = claimed ?? vault.takenFrom(volumeName(target.volume))[0]?.uuid;
  return uuid === undefined ? target : { ...target, uuid };
}

async function claimedBy(backend: StorageBackend, volume: Volume): Promise<KeyUuid | undefined> {
  const probe = await backend.probe(volume, "header");
  if (probe.kind === "luks") return probe.header.uuid;
  return probe.kind === "bad-luks" ? probe.claimedUuid : undefined;
}

async function volumeOfKey({ keyring, vault }: TargetPorts, uuid: KeyUuid): Promise<string> {
  const location = await keyring.locate(uuid);
  if (location.kind === "found") {
    location.key.passphrase.dispose();
    return location.key.record.volume;
  }
  const [copy] = vault.backups(uuid);
  if (copy !== undefined) return copy.volume;
  if (location.kind === "unavailable") throw location.error;
  throw new LuksmithError("KEY_NOT_FOUND", {
    what: `there is neither a guest nor a key ${uuid}`,
    hint: "see: luksmith keys list",
  });
}
