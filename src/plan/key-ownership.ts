import type { DiskMapping } from "../disk-info/disk-info.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { Guest } from "../host/host-adapter.js";
import { volumeName } from "../storage/volume.js";
import { protectCommand } from "./commands.js";
import type { AnnotatedKey, DiskKey } from "./step.js";

/** Whether the record says that this volume of this guest is the key's. A disk's device name may change. */
export function isRecorded(guest: Guest, disk: DiskMapping, record: KeyRecord): boolean {
  return belongsTo(guest, record) && record.volume === volumeName(disk.volume);
}

export function belongsTo({ id }: Pick<Guest, "id">, record: KeyRecord): boolean {
  return record.guest.id === id;
}

/**
 * A pending key would format a volume that its record does not name.
 * @param task what cannot be done, naming the guest: `cannot start guest web1`
 */
export function keyInUse(task: string, guest: Guest, disk: DiskMapping, record: KeyRecord): LuksmithError {
  const protect = protectCommand(guest, [disk.dev]);
  return new LuksmithError("KEY_IN_USE", {
    what: `${task}: key ${record.uuid}, which disk ${disk.dev} names, belongs to disk ${record.disk} of guest ${record.guest.name}`,
    why: `it was made for ${record.volume}, and ${volumeName(disk.volume)} does not have its LUKS header`,
    hint: belongsTo(guest, record)
      ? `if this volume is the new one: ${protect} --now`
      : `if the disk is new, take its encryption block out with virsh edit and run: ${protect}`,
  });
}

/**
 * Two plain volumes of one name, in two volume groups, would get mappings of one name.
 * @param task as above @throws GUEST_CONFIG_INVALID
 */
export function refuseSharedMapping(task: string, keys: readonly AnnotatedKey[]): void {
  for (const [index, { disk, mapping }] of keys.entries()) {
    const twin = keys
      .slice(0, index)
      .find((other) => mapping !== undefined && other.mapping?.name === mapping.name);
    if (twin === undefined) continue;
    throw new LuksmithError("GUEST_CONFIG_INVALID", {
      what: `${task}: disks ${twin.disk} and ${disk} name the same mapping ${mapping?.name ?? ""}`,
      why: "a mapping lies over one volume",
      hint: "rename one of the logical volumes, or convert one of the disks to LUKS",
    });
  }
}

/** The key of a disk, with the disk where that can have a key that others have too. */
interface KeyOfDisk extends DiskKey {
  readonly of?: Pick<DiskMapping, "volume" | "linkedClone">;
}

/**
 * @param task as above
 * @throws GUEST_CONFIG_INVALID if two disks of a guest have one key, and neither is a linked clone with a volume of its own
 */
export function refuseSharedKey(task: string, keys: readonly KeyOfDisk[]): void {
  for (const [index, key] of keys.entries()) {
    const { disk, uuid } = key;
    const twin = keys.slice(0, index).find((other) => other.uuid === uuid && !isCloneOf(key, other));
    if (twin === undefined) continue;
    throw new LuksmithError("GUEST_CONFIG_INVALID", {
      what: `${task}: disks ${twin.disk} and ${disk} name the same key ${uuid}`,
      why: "every disk has a key of its own",
      hint: "if one of them is new, give it another secret UUID; attach a copy of an encrypted disk to another guest",
    });
  }
}

function isCloneOf({ of: disk }: KeyOfDisk, { of: other }: KeyOfDisk): boolean {
  if (disk === undefined || other === undefined) return false;
  const isClone = disk.linkedClone === true || other.linkedClone === true;
  return isClone && volumeName(disk.volume) !== volumeName(other.volume);
}
