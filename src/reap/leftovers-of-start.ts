import type { MappingClaim } from "../encryption/encryption-provider.js";
import type { Guest } from "../host/host-adapter.js";
import { planOf, type Plan, type Step } from "../plan/step.js";
import { volumeName } from "../storage/volume.js";

/**
 * The plan of a start that first closes what an earlier one left: mappings that are claimed for the guest and that it
 * does not open any more, because a disk was taken from it or is decrypted by QEMU now. One that it opens again is
 * closed by opening it. What has a mapping open over one of its disks could be a QEMU of this guest that its host
 * manager has lost, and would write beside the new one: then the start is refused.
 * @param claims of the guest
 */
export function closingLeftovers(guest: Guest, plan: Plan, claims: readonly MappingClaim[]): Plan {
  const opened = new Set(
    plan.stages.flat().flatMap((step) => (step.kind === "open-mapping" ? [step.mapping] : [])),
  );
  const left = claims.filter(({ name }) => !opened.has(name));
  const closing = left.map((claim): Step => {
    const step = { kind: "close-mapping", disk: claim.disk, mapping: claim.name } as const;
    return isOverDiskOf(guest, claim) ? { ...step, ifBusy: "refuse" } : step;
  });
  return planOf(closing, ...plan.stages);
}

function isOverDiskOf({ disks }: Guest, { uuid, volume }: MappingClaim): boolean {
  return Object.values(disks.mapping).some(
    (disk) => disk.encryption_secret_uuid === uuid || volumeName(disk.volume) === volume,
  );
}
