import type { DiskMapping } from "../disk-info/disk-info.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { Guest } from "../host/host-adapter.js";
import { cannotStart } from "../plan/cannot-start.js";
import { volumeName } from "../storage/volume.js";
import type { ArrivingDisk } from "./arriving-disks.js";

/** Why a disk cannot come to the volume that is here. The guest runs on where it is. */
export function arrivingDiskRefusal(guest: Guest, { fact, probe, header }: ArrivingDisk): LuksmithError {
  const { disk, uuid, key } = fact;
  const task = `${cannotStart(guest)}: disk ${disk.dev}`;
  const volume = volumeName(disk.volume);
  switch (probe.kind) {
    case "absent":
      return new LuksmithError("VOLUME_NOT_FOUND", {
        what: `${task} has no volume on the target`,
        why: `${volume} does not exist there`,
        hint: "mount the shared storage; for a migration that copies storage, make an empty volume that is as large as the source's",
      });
    case "unreadable":
      return new LuksmithError("VOLUME_UNREADABLE", {
        what: `${task} cannot be read on the target`,
        why: probe.reason,
      });
    case "bad-luks":
      return new LuksmithError("LUKS_HEADER_INVALID", {
        what: `${task} has a LUKS header on the target that cannot be used`,
        why: `${volume}: ${probe.reason}`,
        hint: "check that the target has the same storage as the source; nothing was changed",
      });
    case "luks":
      if (header?.uuid === uuid) {
        return new LuksmithError("KEY_NOT_FOUND", {
          what: `${task} needs key ${uuid}`,
          why: `no keystore of the target has it, and ${volume} is encrypted under it`,
          hint: "give the target the keystore of the source, or copy the key: luksmith keys export and keys import",
        });
      }
      if (header?.key.kind === "unavailable")
        return header.key.error.within(`${task} may have been on the target before`);
      return new LuksmithError("LUKS_UUID_MISMATCH", {
        what: `${task} names key ${uuid}, but its volume on the target belongs to another key`,
        why: `${volume} has LUKS UUID ${probe.header.uuid}, which is of no earlier migration of this disk`,
        hint: ifCopied("check that the target has the same storage as the source"),
      });
    case "allocated":
      return new LuksmithError("VOLUME_NOT_PROVEN_EMPTY", {
        what: `${task} does not have its LUKS header on the target, and nothing is copied to a volume that may hold data`,
        why: `${volume} has allocated blocks, so its allocation map does not prove that it is new`,
        hint: ifCopied("check that the target has the same storage as the source"),
      });
    case "data":
      return new LuksmithError("VOLUME_NOT_EMPTY", {
        what: `${task} does not have its LUKS header on the target, and nothing is copied to a volume that holds data`,
        why: `${volume} holds ${probe.signature ?? "data"}`,
        hint: ifCopied("check that the target has the same storage as the source"),
      });
    case "empty":
      return new LuksmithError("VOLUME_NOT_FORMATTED", {
        what: `${task} was never formatted on the target`,
        why: `${volume} is empty, and a disk that ${uncopied(disk)} gets no key of its own there${key.kind === "unknown" ? `; no keystore has key ${uuid}` : ""}`,
        hint:
          disk.readOnly || disk.shareable
            ? "mount the storage that it has at the source"
            : "mount the storage that it has at the source, or merge the disk into what it lies over first: virsh blockcommit or blockpull",
      });
  }
}

/** Why libvirt would not copy it, or not as a whole. */
function uncopied({ readOnly, shareable }: DiskMapping): string {
  if (readOnly) return "the guest only reads";
  return shareable ? "guests share" : "lies over an encrypted one";
}

function ifCopied(hint: string): string {
  return `${hint}; for a migration that copies storage, make a new, empty volume in its place`;
}
