import { constants, existsSync } from "node:fs";
import { open } from "node:fs/promises";
import { posix } from "node:path";
import type { DiskMapping } from "../../disk-info/disk-info.js";
import { parseDrive, parseDriveName, parseVolumeId } from "../../guest-config/proxmox/drive.js";
import type { VmOptions } from "../../guest-config/proxmox/vm-config.js";
import type { StorageRegistry } from "../../storage/storage-registry.js";
import { type PathVolume, volumeName } from "../../storage/volume.js";
import { volumeOnBase } from "./base-volume.js";
import { volumeAtPlace } from "./plain-place.js";
import type { StorageConfig } from "./storage-config.js";
import type { StoragesRecord } from "./storages-policy.js";

export interface Surroundings {
  readonly volumes: StorageRegistry;
  readonly storages: StorageConfig;
  /** Names of the volume groups on which encrypted volumes lie, or lay. */
  readonly groups: ReadonlySet<string>;
}

/** As they are configured, and as they were recorded. */
export function encryptedGroups(storages: StorageConfig, record: StoragesRecord): ReadonlySet<string> {
  const recorded = record.kind === "known" ? record.storages : [];
  const known = [...[...storages.values()].flatMap(({ encrypted }) => encrypted ?? []), ...recorded];
  return new Set(known.flatMap(({ base }) => ("vg" in base ? [base.vg] : [])));
}

/** What both versions of LUKS begin with. */
const MAGIC = Buffer.from("LUKS\xba\xbe", "latin1");

/**
 * What a plain disk is if it begins with a LUKS header: its guest would take ciphertext for an empty disk. Reads a few
 * bytes of a file or device that is there; a logical volume that is not active is activated for the look only where its
 * group has encrypted volumes too. An RBD image is not looked at.
 */
export async function looksEncrypted(
  disk: DiskMapping,
  options: VmOptions,
  { storages, volumes, groups }: Surroundings,
): Promise<DiskMapping["looksEncrypted"]> {
  const path = plainPathOf(disk, options[disk.dev], storages);
  if (path === undefined) return undefined;
  const kind = (await kindIfLuks(path)) ?? (await kindIfInactiveLuks(path, groups, volumes));
  if (kind === undefined) return undefined;
  const volume: PathVolume = { kind, path, format: "raw" };
  const named = nameOnEncrypted(volume, storages);
  return { volume, ...(named !== undefined && { named }) };
}

function plainPathOf(
  { dev, encrypted, volume }: DiskMapping,
  value: string | undefined,
  storages: StorageConfig,
): string | undefined {
  if (encrypted || value === undefined || parseDriveName(dev) === undefined) return undefined;
  if (volume.kind === "file" || volume.kind === "block") return volume.path;
  const id = parseVolumeId(parseDrive(dev, value).file);
  const place = id && storages.get(id.storage)?.place;
  const found = place && volumeAtPlace(place, id.volume);
  return found?.kind === "file" || found?.kind === "block" ? found.path : undefined;
}

/** What cannot be read is no start's obstacle: whoever opens the disk meets the same. */
async function kindIfLuks(path: string): Promise<PathVolume["kind"] | undefined> {
  try {
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(MAGIC.length), 0, MAGIC.length, 0);
    if (bytesRead !== MAGIC.length || !buffer.equals(MAGIC)) return undefined;
    return (await file.stat()).isBlockDevice() ? "block" : "file";
  } catch {
    return undefined;
  }
}

async function kindIfInactiveLuks(
  path: string,
  groups: ReadonlySet<string>,
  volumes: StorageRegistry,
): Promise<"block" | undefined> {
  const [, group] = /^\/dev\/([^/]+)\/[^/]+$/.exec(path) ?? [];
  if (group === undefined || !groups.has(group) || existsSync(path)) return undefined;
  const volume: PathVolume = { kind: "block", path, format: "raw" };
  const probe = await (await volumes.findBackend(volume))?.probe(volume, "header");
  return probe?.kind === "luks" || probe?.kind === "bad-luks" ? "block" : undefined;
}

/** `enc:vm-100-disk-0` */
function nameOnEncrypted({ path }: PathVolume, storages: StorageConfig): string | undefined {
  const wanted = posix.normalize(path);
  const name = posix.basename(wanted).replace(/\.luks$/, "");
  const found = [...storages.values()].find(
    ({ encrypted }) => encrypted && volumeName(volumeOnBase(encrypted.base, name)) === wanted,
  );
  return found && `${found.id}:${name}`;
}
