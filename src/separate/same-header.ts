import type { DiskMapping } from "../disk-info/disk-info.js";
import { isSameVolume } from "../plan/same-volume.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { StorageRegistry } from "../storage/index.js";
import type { Volume } from "../storage/volume.js";
import { volumesNamed } from "./volumes-named.js";

/** What a disk's volume is, beside the volume that its key was made for. */
export type Kinship =
  /** It is that volume, by whatever name. */
  | { readonly kind: "own" }
  /** That volume is still there, with the same UUID in its LUKS header: one is a copy of the other. */
  | { readonly kind: "copy"; readonly of: string }
  /** That volume is not there any more, or has another header: this one was moved, or renamed. */
  | { readonly kind: "moved"; readonly from: string; readonly why: "absent" | "other header" }
  /** That volume cannot be seen from here, be it that it is broken. */
  | { readonly kind: "unseen"; readonly from: string; readonly why: string };

/** Looks at the volume that the record names, by its header alone: starts no process for files and devices. */
export async function kinshipOf(
  disk: Pick<DiskMapping, "volume" | "mapping">,
  record: Pick<KeyRecord, "uuid" | "volume">,
  storage: StorageRegistry,
): Promise<Kinship> {
  const { volume: from, uuid } = record;
  const readings = volumesNamed(from);
  for (const volume of readings) if (await isSameVolume(disk, { volume })) return { kind: "own" };
  if (readings.length === 0)
    return { kind: "unseen", from, why: "its name is of no storage that is known here" };
  const answers = await Promise.all(readings.map((volume) => look(volume, uuid, storage)));
  if (answers.includes("same header")) return { kind: "copy", of: from };
  const unreadable = answers.find((answer) => typeof answer === "object");
  if (unreadable !== undefined) return { kind: "unseen", from, why: unreadable.reason };
  return { kind: "moved", from, why: answers.includes("other") ? "other header" : "absent" };
}

type Look = "same header" | "other" | "absent" | { readonly reason: string };

async function look(volume: Volume, uuid: string, storage: StorageRegistry): Promise<Look> {
  const backend = await storage.findBackend(volume);
  if (backend === undefined) return { reason: "no storage backend has it" };
  const probe = await backend.probe(volume, "header");
  switch (probe.kind) {
    case "luks":
      return probe.header.uuid === uuid ? "same header" : "other";
    case "bad-luks":
      return probe.claimedUuid === uuid ? "same header" : "other";
    case "absent":
      return "absent";
    case "empty":
    case "allocated":
    case "data":
      return "other";
    case "unreadable":
      return { reason: probe.reason };
  }
}
