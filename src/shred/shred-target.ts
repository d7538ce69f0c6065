import { type KeyUuid, parseKeyUuid } from "../keystore/key-uuid.js";
import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
import type { ConfiguredGuest, Guest } from "../host/host-adapter.js";
import { volumeArgument } from "../storage/volume-argument.js";
import { type Volume, volumeName } from "../storage/volume.js";
import { isGone } from "./begun.js";
import { damagedHeader, type DamagedHeaderPorts } from "./damaged-header.js";
import type { ShredNote } from "./shred-notes.js";

/** A volume whose keys are to be destroyed. */
export interface ShredTarget {
  readonly key: KeyUuid;
  readonly volume: Volume;
  /** Absent for a volume that no guest is named for. */
  readonly guest?: Pick<Guest, "id" | "name">;
  readonly disk?: string;
}

/**
 * The guest's encrypted disks: these, or all.
 * @throws DISK_NOT_FOUND for one that it does not have, DISK_NOT_ENCRYPTED if there is nothing to destroy
 */
export function targetsOf(guest: ConfiguredGuest, disks: readonly string[]): ShredTarget[] {
  const { id, name, disks: all } = guest;
  const known = Object.keys(all.mapping);
  const unknown = disks.find((dev) => !known.includes(dev));
  if (unknown !== undefined) {
    throw new LuksmithError("DISK_NOT_FOUND", {
      what: `guest ${name} has no disk ${unknown}`,
      hint: `it has ${known.join(", ")}`,
    });
  }
  const wanted = Object.values(all.mapping).filter(({ dev }) => disks.length === 0 || disks.includes(dev));
  const targets = wanted.flatMap(({ dev: disk, volume, encryption_secret_uuid: key }) =>
    key === undefined ? [] : [{ key, volume, guest: { id, name }, disk }],
  );
  const bare = wanted.filter(({ encryption_secret_uuid: key }) => key === undefined);
  if (targets.length > 0 && (disks.length === 0 || bare.length === 0)) return targets;
  throw new LuksmithError("DISK_NOT_ENCRYPTED", {
    what: `disk ${bare.map(({ dev }) => dev).join(", ")} of guest ${name} has no key that could be destroyed`,
    why: "its configuration names none",
    hint: "what is on a plain disk is destroyed by overwriting all of it",
  });
}

/**
 * By its header, a damaged one by the copies that were taken of it.
 * @throws VOLUME_NOT_FORMATTED, VOLUME_NOT_FOUND, VOLUME_UNREADABLE
 */
export async function targetAt(volume: Volume, ports: DamagedHeaderPorts): Promise<ShredTarget> {
  const backend = await ports.storage.backendFor(volume);
  const probe = await backend.probe(volume, "header");
  if (probe.kind === "luks") return { key: probe.header.uuid, volume };
  const copies = ports.headers.takenFrom(volumeName(volume));
  for (const key of new Set(copies.map(({ uuid }) => uuid)))
    if ((await damagedHeader({ volume, key, probe }, ports)) !== undefined) return { key, volume };
  const { notFormatted } = await import("../storage/volume-error.js");
  throw notFormatted(volumeName(volume), probe);
}

/** What an earlier call has begun to destroy. */
export function targetIn({ key, volume, guest, disk }: ShredNote): ShredTarget {
  const uuid = parseKeyUuid(key);
  if (uuid === undefined) throw new Error(`a note has the malformed UUID ${key}`);
  return { key: uuid, volume, ...(guest && { guest }), ...(disk && { disk }) };
}

/** What has come to a volume's name since its header was destroyed, and has a header of its own, is meant by the name. */
export async function laterOn(note: ShredNote, ports: DamagedHeaderPorts): Promise<ShredTarget | undefined> {
  if (!(await isGone(note, ports))) return undefined;
  try {
    return await targetAt(note.volume, ports);
  } catch (thrown) {
    if (["VOLUME_NOT_FOUND", "VOLUME_NOT_FORMATTED"].includes(asLuksmithError(thrown).code)) return undefined;
    throw thrown;
  }
}

/** One that begins with no header is raw, if it is anything that can be shredded: its header is damaged. */
export function volumeCalled(name: string): Volume {
  try {
    return volumeArgument(name);
  } catch (thrown) {
    if (asLuksmithError(thrown).code !== "USAGE") throw thrown;
    return volumeArgument(name, "raw");
  }
}
