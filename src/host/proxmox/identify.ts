import type { DiskMapping } from "../../disk-info/disk-info.js";
import { asLuksmithError, LuksmithError } from "../../error/luksmith-error.js";
import { printable } from "../../error/printable.js";
import { isVolumeName } from "../../disk-info/vm-volume.js";
import { parseDrive, parseVolumeId, type VolumeId } from "../../guest-config/proxmox/drive.js";
import { parseVmConfig } from "../../guest-config/proxmox/vm-config.js";
import { type KeyUuid, parseKeyUuid } from "../../keystore/key-uuid.js";
import { cannotStart } from "../../plan/cannot-start.js";
import type { Probe } from "../../storage/storage-backend.js";
import type { StorageRegistry } from "../../storage/storage-registry.js";
import { type Volume, volumeName } from "../../storage/volume.js";
import type { Guest } from "../host-adapter.js";
import { volumeOnBase } from "./base-volume.js";
import { looksEncrypted, type Surroundings } from "./looks-encrypted.js";
import type { StorageConfig } from "./storage-config.js";

/**
 * The guest with the keys of its encrypted disks, which their LUKS headers name and nothing else, and with what its
 * plain disks look like; all disks at once.
 * @param unless `refuse`: a disk that does not tell its key must not be opened, least of all as plaintext.
 *   `leave-out`: it stays without one, for whoever shows the guest
 * @throws VOLUME_NOT_FOUND, VOLUME_UNREADABLE, VOLUME_NOT_FORMATTED, LUKS_HEADER_INVALID, VOLUME_UNSUPPORTED, and
 *   LUKS_UUID_MISMATCH for what is named a linked clone and is none
 */
export async function identify<G extends Guest>(
  guest: G,
  surroundings: Surroundings,
  unless: "refuse" | "leave-out",
): Promise<G> {
  const { options } = parseVmConfig(guest.configuration);
  const disks = await Promise.all(
    Object.values(guest.disks.mapping).map(async (disk): Promise<[string, DiskMapping]> => {
      if (!disk.encrypted) {
        const found = await looksEncrypted(disk, options, surroundings);
        return [disk.dev, found === undefined ? disk : { ...disk, looksEncrypted: found }];
      }
      // what names no volume has a better refusal among the guest's asks
      const isKnown = disk.encryption_secret_uuid !== undefined || disk.volume.kind === "other";
      if (isKnown) return [disk.dev, disk];
      const uuid = await keyOf(guest, disk, options[disk.dev], surroundings).catch((thrown: unknown) => {
        if (unless === "refuse" || !(thrown instanceof LuksmithError)) throw thrown;
        return undefined;
      });
      return [disk.dev, uuid === undefined ? disk : { ...disk, encryption_secret_uuid: uuid }];
    }),
  );
  return { ...guest, disks: { ...guest.disks, mapping: Object.fromEntries(disks) } };
}

async function keyOf(
  guest: Guest,
  disk: DiskMapping,
  value: string | undefined,
  surroundings: Surroundings,
): Promise<KeyUuid> {
  const task = `${cannotStart(guest)}: disk ${disk.dev}`;
  const id = value === undefined ? undefined : parseVolumeId(parseDrive(disk.dev, value).file);
  const template = id === undefined ? undefined : templateOf(task, id, surroundings.storages);
  const [uuid, itsUuid] = await Promise.all([
    uuidOf(task, disk.volume, surroundings.volumes),
    template && uuidOf(`${task} is a linked clone, whose template`, template, surroundings.volumes),
  ]);
  if (itsUuid === undefined || itsUuid === uuid) return uuid;
  throw new LuksmithError("LUKS_UUID_MISMATCH", {
    what: `${task} is named as a linked clone, and is none of that template`,
    why: `${volumeName(disk.volume)} has LUKS UUID ${uuid}, its template has ${itsUuid}`,
    hint: "name the volume without its template, or give the guest the clone that it had",
  });
}

/**
 * What a linked clone is a clone of, which its volume ID names: `enc:base-100-disk-0/vm-101-disk-0`. A copy with the
 * header of another volume would pass for one, if nobody looked.
 * @throws VOLUME_UNSUPPORTED
 */
function templateOf(
  task: string,
  { storage, volume }: VolumeId,
  storages: StorageConfig,
): Volume | undefined {
  const [template, clone, more] = volume.split("/");
  const base = storages.get(storage)?.encrypted?.base;
  if (template === undefined || clone === undefined || base === undefined) return undefined;
  if (more === undefined && isVolumeName(template)) return volumeOnBase(base, template);
  throw new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `${task} is named as a linked clone, and cannot be one`,
    why: `${printable(volume)} names no template`,
    hint: `name the volume without its template: ${printable(`${storage}:${volume.split("/").at(-1) ?? ""}`)}`,
  });
}

async function uuidOf(task: string, of: Volume, volumes: StorageRegistry): Promise<KeyUuid> {
  let probe: Probe;
  try {
    const backend = await volumes.backendFor(of);
    probe = await backend.probe(of, "header");
  } catch (thrown) {
    throw asLuksmithError(thrown).within(task);
  }
  const volume = volumeName(of);
  switch (probe.kind) {
    case "luks": {
      const uuid = parseKeyUuid(probe.header.uuid);
      if (uuid !== undefined) return uuid;
      throw invalid(task, `${volume} has the UUID ${probe.header.uuid}`);
    }
    case "bad-luks":
      throw invalid(task, `${volume}: ${probe.reason}`);
    case "absent":
      throw new LuksmithError("VOLUME_NOT_FOUND", {
        what: `${task} has no volume`,
        why: `${volume} does not exist`,
        hint: "check that its storage is mounted, or its volume group here",
      });
    case "unreadable":
      throw new LuksmithError("VOLUME_UNREADABLE", { what: `${task} cannot be read`, why: probe.reason });
    case "empty":
    case "allocated":
    case "data":
      throw new LuksmithError("VOLUME_NOT_FORMATTED", {
        what: `${task} is on encrypted storage and has no LUKS header`,
        why: `${volume} ${probe.kind === "empty" ? "is empty" : `holds ${dataIn(probe)}`}: somebody else made it, or overwrote its header`,
        hint: "restore the volume from a backup; if it holds a plain image, import it: qm disk import",
      });
  }
}

function dataIn(probe: Extract<Probe, { kind: "allocated" | "data" }>): string {
  return (probe.kind === "data" ? probe.signature : undefined) ?? "something else";
}

function invalid(task: string, why: string): LuksmithError {
  return new LuksmithError("LUKS_HEADER_INVALID", {
    what: `${task} has a LUKS header that cannot be used`,
    why,
    hint: "restore the header from a backup; nothing was changed",
  });
}
