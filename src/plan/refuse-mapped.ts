import type { DiskMapping } from "../disk-info/disk-info.js";
import type { MappingClaim } from "../encryption/encryption-provider.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { Guest } from "../host/host-adapter.js";
import { cannotStart } from "./cannot-start.js";
import { isSameVolume } from "./same-volume.js";

/**
 * A volume that another guest of this host has open by dm-crypt, whether this guest's disk is encrypted or not: QEMU's
 * locks do not see that, and two guests would write to it. A copy of such a volume is another one. @throws MAPPING_BUSY
 */
export async function refuseMappedElsewhere(guest: Guest, claims: readonly MappingClaim[]): Promise<void> {
  const foreign = claims.filter((claim) => claim.guest.id !== guest.id);
  for (const disk of foreign.length === 0 ? [] : Object.values(guest.disks.mapping)) {
    const claim = await claimOn(disk, foreign);
    if (claim === undefined) continue;
    throw new LuksmithError("MAPPING_BUSY", {
      what: `${cannotStart(guest)}: the volume of disk ${disk.dev} is open for guest ${claim.guest.name}`,
      why: `mapping ${claim.name} lies over ${claim.volume}`,
      hint: "stop that guest first; if it does not run: luksmith reap",
    });
  }
}

async function claimOn(
  disk: DiskMapping,
  claims: readonly MappingClaim[],
): Promise<MappingClaim | undefined> {
  for (const claim of claims) {
    const volume = { kind: "block", path: claim.volume, format: "raw" } as const;
    if (await isSameVolume(disk, { volume, mapping: claim.name })) return claim;
  }
  return undefined;
}
