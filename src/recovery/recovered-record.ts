import type { LuksHeader } from "../encryption/luks-header.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { printable } from "../error/printable.js";
import type { KeyRecord } from "../generated/key-record.js";
import isKeyRecord from "../generated/validate-key-record.cjs";
import type { Guest } from "../host/host-adapter.js";
import { isSameVolume } from "../plan/same-volume.js";
import { type Volume, volumeName } from "../storage/volume.js";

/** A disk of a guest that has the volume, by its configuration. */
export interface DiskOfGuest {
  readonly guest: Pick<Guest, "id" | "name">;
  readonly disk: string;
}

/** The guests' disks that have this volume, or name its key. */
export async function disksWith(
  guests: readonly Guest[],
  volume: Volume,
  { uuid }: Pick<LuksHeader, "uuid">,
): Promise<DiskOfGuest[]> {
  const found: DiskOfGuest[] = [];
  for (const { id, name, disks } of guests) {
    for (const disk of Object.values(disks.mapping)) {
      const isIt = (await isSameVolume(disk, { volume })) || disk.encryption_secret_uuid === uuid;
      if (isIt) found.push({ guest: { id, name }, disk: disk.dev });
    }
  }
  return found;
}

/** The record of a key of which nothing is left but the volume's header and the guest that has it. */
export function recordOf(header: LuksHeader, volume: Volume, owner: DiskOfGuest, now: Date): KeyRecord {
  const { uuid, cipher, keySize, hash, version } = header;
  return {
    ...{
      version: 1,
      uuid,
      state: "active",
      guest: owner.guest,
      disk: owner.disk,
      volume: volumeName(volume),
    },
    encryption: { format: version === 1 ? "luks" : "luksv2", cipher, keySize, hash },
    createdAt: now.toISOString(),
  };
}

/** @param origin for messages @throws ESCROW_INVALID, LUKS_UUID_MISMATCH */
export function parseKeyRecord(text: string, origin: string, { uuid }: Pick<LuksHeader, "uuid">): KeyRecord {
  const record = parse(text);
  if (!isKeyRecord(record)) {
    throw new LuksmithError("ESCROW_INVALID", {
      what: `${printable(origin)} is no key record`,
      hint: "luksmith keys show UUID --json prints one, as its member record",
    });
  }
  const valid = record as KeyRecord;
  if (valid.uuid === uuid) return valid;
  throw new LuksmithError("LUKS_UUID_MISMATCH", {
    what: `${printable(origin)} is not the record of this volume's key`,
    why: `it is of ${valid.uuid}, and the volume's header of ${uuid}`,
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
