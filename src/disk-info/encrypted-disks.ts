import { LuksmithError } from "../error/luksmith-error.js";
import { printable } from "../error/printable.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { DiskInfo, DiskMapping } from "./disk-info.js";

/** A disk that has a key of its own. */
export interface EncryptedDisk extends DiskMapping {
  readonly encryption_secret_uuid: KeyUuid;
}

interface Choice {
  /** Device names, each of which must have a key; all that have one without it. */
  readonly wanted?: readonly string[] | undefined;
  /** Only those whose volume has a LUKS header, which plain dm-crypt has not. */
  readonly withHeader?: boolean;
}

/** May be none at all. @throws DISK_NOT_FOUND, DISK_NOT_ENCRYPTED for one that is wanted by its name */
export function encryptedDisks(
  guest: { readonly name: string; readonly disks: DiskInfo },
  { wanted, withHeader = false }: Choice = {},
): EncryptedDisk[] {
  const all = Object.values(guest.disks.mapping);
  const isMeant = (disk: DiskMapping): disk is EncryptedDisk =>
    disk.encryption_secret_uuid !== undefined && !(withHeader && disk.encryption_format === "plain");
  if (wanted === undefined) return all.filter(isMeant);
  return [...new Set(wanted)].map((dev) => {
    const disk = all.find((one) => one.dev === dev);
    if (disk === undefined) throw notFound(guest.name, dev, all);
    if (isMeant(disk)) return disk;
    throw new LuksmithError("DISK_NOT_ENCRYPTED", {
      what: `disk ${dev} of guest ${guest.name} has no ${withHeader ? "LUKS header" : "key"}`,
      hint: "luksmith status shows which disks are encrypted, and how",
    });
  });
}

/** @throws DISK_NOT_ENCRYPTED if there is none */
export function requireEncryptedDisks(
  ...[guest, choice]: Parameters<typeof encryptedDisks>
): EncryptedDisk[] {
  const disks = encryptedDisks(guest, choice);
  if (disks.length > 0) return disks;
  throw new LuksmithError("DISK_NOT_ENCRYPTED", {
    what: `guest ${guest.name} has no disk with a ${choice?.withHeader ? "LUKS header" : "key"}`,
    hint: "luksmith status shows which disks are encrypted, and how",
  });
}

function notFound(guest: string, dev: string, all: readonly DiskMapping[]): LuksmithError {
  return new LuksmithError("DISK_NOT_FOUND", {
    what: `guest ${guest} has no disk ${printable(dev)}`,
    hint: all.length === 0 ? "it has no disks" : `it has ${all.map((one) => one.dev).join(", ")}`,
  });
}
