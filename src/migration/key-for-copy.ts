import type { DiskMapping } from "../disk-info/disk-info.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { Guest } from "../host/host-adapter.js";
import { keyUuidOf } from "../keystore/key-record.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { isRecorded } from "../plan/key-ownership.js";
import type { KeyHere, ArrivingDisk } from "./arriving-disks.js";
import { arrivingDiskRefusal } from "./arriving-disk-refusal.js";

/** What a disk of a guest that comes finds here. */
export type Decision =
  /** It is opened as it is, or what is wrong with it is said as at any start. */
  | { readonly kind: "as-it-is" }
  /** Its content is going to be copied to the volume here, under this key. */
  | { readonly kind: "copied"; readonly uuid: KeyUuid };

/**
 * Only a volume that is proven to be empty, or that was made for this disk of this guest before, is given to what is
 * copied; whether it really is copied cannot be told yet. Pure. @throws why the disk cannot come to this volume
 */
export function keyForCopy(guest: Guest, arriving: ArrivingDisk, newUuid: () => KeyUuid): Decision {
  const { fact, probe, header, noted } = arriving;
  if (header?.uuid === fact.uuid) {
    if (fact.key.kind === "unknown") throw arrivingDiskRefusal(guest, arriving);
    return { kind: "as-it-is" };
  }
  const lacksBase = fact.bases.some(({ key }) => key.kind !== "found");
  if (lacksBase && fact.key.kind === "found") return { kind: "as-it-is" };
  // a disk that the guest cannot write, or shares, is never copied; one that lies over another one not as a whole
  if (fact.disk.readOnly || fact.disk.shareable || fact.disk.backingSecretUuids !== undefined)
    throw arrivingDiskRefusal(guest, arriving);
  switch (probe.kind) {
    case "empty":
      return { kind: "copied", uuid: unusedKey(guest, arriving, noted) ?? newUuid() };
    case "luks":
      if (header !== undefined && isOfVolume(guest, fact.disk, header)) return copiedUnder(header);
      break;
    case "bad-luks":
      // a power cut tore it while it was written, and nothing was copied behind it yet
      if (header !== undefined && isOfVolume(guest, fact.disk, header) && isPending(header))
        return copiedUnder(header);
      break;
    case "allocated":
    case "data":
    case "absent":
    case "unreadable":
      break;
  }
  throw arrivingDiskRefusal(guest, arriving);
}

function copiedUnder({ uuid }: KeyHere): Decision {
  return { kind: "copied", uuid };
}

/** An earlier migration, to this host or away from it, has left the volume to this disk. */
function isOfVolume(guest: Guest, disk: DiskMapping, { key }: KeyHere): boolean {
  return key.kind === "found" && isRecorded(guest, disk, key.record) && key.record.disk === disk.dev;
}

function isPending({ key }: KeyHere): boolean {
  return key.kind === "found" && key.record.state === "pending";
}

/** The key that an attempt which was killed has noted, and perhaps stored, and that has encrypted nothing yet. */
function unusedKey(guest: Guest, { fact }: ArrivingDisk, noted: KeyHere | undefined): KeyUuid | undefined {
  switch (noted?.key.kind) {
    case undefined:
    case "unavailable":
      return undefined;
    case "unknown":
      return noted.uuid;
    case "found":
      return isUnused(noted.key.record) && isRecorded(guest, fact.disk, noted.key.record)
        ? keyUuidOf(noted.key.record)
        : undefined;
  }
}

function isUnused({ state }: KeyRecord): boolean {
  return state === "pending";
}
