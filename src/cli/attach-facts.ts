import type { Container } from "../di.js";
import type { DiskMapping } from "../disk-info/disk-info.js";
import type { EngineChoice } from "../encryption/encryption-providers.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { printable } from "../error/printable.js";
import type { Guest } from "../host/host-adapter.js";
import { protectCommand } from "../plan/commands.js";
import {
  type AttachedGuest,
  type AttachFacts,
  gatherAddedDisk,
  gatherConfiguredDisk,
} from "../plan/gather-attach.js";
import { diskOf } from "../plan/guest-disk.js";
import type { KeySession } from "../plan/key-session.js";
import type { Resources } from "../plan/perform.js";
import { isSameVolume } from "../plan/same-volume.js";
import type { EncryptionRequest } from "../request/ask.js";
import { resolveRequests } from "../request/resolve.js";
import { type Volume, volumeName } from "../storage/volume.js";
import { SETTINGS } from "../tokens.js";
import { requireDisk } from "./guest-disk.js";
import type { NewDiskOptions } from "./new-disk.js";

export interface AttachOptions extends NewDiskOptions {
  readonly dryRun?: true;
}

/** What the command line says. */
export interface AttachTask {
  readonly nameOrId: string;
  readonly dev: string;
  /** Undefined for a disk of the configuration. */
  readonly wanted: DiskMapping | undefined;
  readonly options: AttachOptions;
}

/** What `attach` must know of the disk that the command line names. @throws DISK_EXISTS, DISK_NOT_FOUND */
export async function attachFacts(
  container: Container,
  guest: AttachedGuest,
  { dev, wanted, options }: AttachTask,
  resources: Resources,
  session: KeySession,
): Promise<AttachFacts> {
  const settings = container.resolve(SETTINGS);
  const configured = diskOf(guest.persistent, dev);
  if (wanted === undefined) {
    const disk = requireDisk(guest.persistent, dev);
    return await gatherConfiguredDisk(guest, disk, settings, resources, session);
  }
  if (configured !== undefined && !(await isSameVolume(configured, wanted))) throw exists(guest, configured);
  if (configured?.encrypted) {
    requireEngine(guest, configured, options.engine);
    return await gatherConfiguredDisk(guest, configured, settings, resources, session);
  }
  const disk = configured ?? { ...wanted, volume: reachedFrom(guest.persistent, wanted.volume) };
  const request = requestFor(guest, disk, options, container);
  const engine = options.engine ?? settings.encryption.engine;
  const choices = { request, engine, ...(options.bus && { bus: options.bus }) };
  return await gatherAddedDisk(guest, disk, choices, resources, session);
}

/** An RBD image is in the cluster of the guest's other images, as the host manager takes it to be. */
function reachedFrom({ disks }: Guest, volume: Volume): Volume {
  if (volume.kind !== "rbd") return volume;
  const other = Object.values(disks.mapping).find((disk) => disk.volume.kind === "rbd")?.volume;
  if (other?.kind !== "rbd") return volume;
  const { conf, user, monitors } = other;
  return { ...volume, ...(conf && { conf }), ...(user && { user }), ...(monitors && { monitors }) };
}

/** Who decrypts a disk of the configuration is not changed in passing. */
function requireEngine(
  { persistent }: AttachedGuest,
  { dev, mapping }: DiskMapping,
  engine: EngineChoice = "auto",
): void {
  const configured = mapping === undefined ? "native" : "dm-crypt";
  if (engine === "auto" || engine === configured) return;
  throw new LuksmithError("DISK_EXISTS", {
    what: `cannot attach a disk to guest ${persistent.name}: its configuration has disk ${dev} already`,
    why: `there it is decrypted by ${configured}`,
    hint: `attach it without --engine, or while the guest is shut off: ${protectCommand(persistent, [dev])} --engine ${engine}`,
  });
}

/** The command speaks as one more voice, so that it cannot overrule a rule or an image silently. */
function requestFor(
  { persistent }: AttachedGuest,
  disk: DiskMapping,
  { profile }: AttachOptions,
  container: Container,
): EncryptionRequest {
  const ask = {
    ...{ source: "luksmith attach", enabled: true, disks: [disk.dev] },
    ...(profile === undefined ? {} : { profile }),
  };
  const disks = { ...persistent.disks, mapping: { [disk.dev]: disk } };
  const asking = { ...persistent, disks, asks: [...persistent.asks, ask] };
  const request = resolveRequests(asking, container.resolve(SETTINGS)).get(disk.dev);
  if (request === undefined) throw new Error("a disk that is asked for is requested");
  return request;
}

function exists({ persistent }: AttachedGuest, { dev, volume }: DiskMapping): LuksmithError {
  return new LuksmithError("DISK_EXISTS", {
    what: `cannot attach a disk to guest ${persistent.name}: its configuration has another disk ${dev}`,
    why: `that one is on ${printable(volumeName(volume))}`,
    hint: "choose another device name",
  });
}
