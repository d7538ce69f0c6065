import type { MappingClaim } from "../encryption/encryption-provider.js";
import { planOf, type Plan } from "../plan/step.js";

/**
 * The plan of a start that first closes what an earlier one left: mappings that are claimed for the guest and that it
 * does not open any more, because a disk was taken from it or is decrypted by QEMU now. One that it opens again is
 * closed by opening it.
 * @param claims of the guest
 */
export function closingLeftovers(plan: Plan, claims: readonly MappingClaim[]): Plan {
  const opened = new Set(
    plan.stages.flat().flatMap((step) => (step.kind === "open-mapping" ? [step.mapping] : [])),
  );
  const left = claims.filter(({ name }) => !opened.has(name));
  return planOf(
    left.map(({ name, disk }) => ({ kind: "close-mapping", disk, mapping: name })),
    ...plan.stages,
  );
}
