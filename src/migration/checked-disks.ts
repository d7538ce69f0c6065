import type { DiskMapping } from "../disk-info/disk-info.js";
import type { MigrationAnswer } from "../generated/migration-answer.js";
import type { Guest } from "../host/host-adapter.js";
import { volumeName } from "../storage/volume.js";

/** A disk of a guest that would migrate. */
export interface CheckedDisk {
  readonly device: string;
  /** As the target names it, or this host where the target says nothing of it. */
  readonly volume: string;
  /**
   * `same`, `copied`: as the target answers. `plain`: not encrypted, so that no Luksmith looks at it. `foreign`: an
   * encryption block that the Luksmith there leaves alone. `unknown`: there is no answer about it.
   */
  readonly content: "same" | "copied" | "plain" | "foreign" | "unknown";
  readonly key?: string;
  readonly openedBy?: "native" | "dm-crypt";
  /** What the guest cannot write, or shares, libvirt does not copy. */
  readonly readOnly: boolean;
}

/** The guest's encrypted disks, and others that it can write. */
export function checkedDisks({ disks }: Pick<Guest, "disks">, answer?: MigrationAnswer): CheckedDisk[] {
  return Object.values(disks.mapping)
    .filter(({ encrypted, readOnly, volume }) => encrypted || (!readOnly && volume.kind !== "none"))
    .map((disk) => checked(disk, answer));
}

/** What the guest reads and never writes, and is not encrypted: mostly CD-ROM images. */
export function readOnlyPlainDisks({ disks }: Pick<Guest, "disks">): DiskMapping[] {
  return Object.values(disks.mapping).filter(
    ({ encrypted, readOnly, volume }) => !encrypted && readOnly && volume.kind !== "none",
  );
}

function checked(disk: DiskMapping, answer?: MigrationAnswer): CheckedDisk {
  const { dev: device, encryption_secret_uuid: key } = disk;
  const readOnly = disk.readOnly || disk.shareable === true;
  const there = answer?.disks.find((candidate) => candidate.device === device);
  if (there !== undefined) {
    const { volume, content, key, openedBy } = there;
    return { device, volume, content, key, openedBy, readOnly };
  }
  const volume = volumeName(disk.volume);
  if (!disk.encrypted) return { device, volume, content: "plain", readOnly };
  const content = answer === undefined || answer.problem !== undefined ? "unknown" : "foreign";
  return { device, volume, content, ...(key !== undefined && { key }), readOnly };
}
