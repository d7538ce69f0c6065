import type { MappingClaim } from "../encryption/encryption-provider.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { Guest } from "../host/host-adapter.js";

/**
 * A volume that another guest of this host has open by dm-crypt: QEMU's locks do not see that, and two guests would
 * write to it. @throws MAPPING_BUSY
 */
export function refuseMappedElsewhere(guest: Guest, claims: readonly MappingClaim[]): void {
  for (const { dev, encryption_secret_uuid: uuid } of Object.values(guest.disks.mapping)) {
    const claim = claims.find((one) => one.uuid === uuid && one.guest.id !== guest.id);
    if (claim === undefined) continue;
    throw new LuksmithError("MAPPING_BUSY", {
      what: `cannot start guest ${guest.name}: disk ${dev} is open for guest ${claim.guest.name}`,
      why: `mapping ${claim.name} lies over ${claim.volume}`,
      hint: "stop that guest first; if it does not run: luksmith reap",
    });
  }
}
