import type { Guest } from "../host/host-adapter.js";
import type { DiskFacts } from "../plan/facts.js";
import { planProvide } from "../plan/plan-provide.js";
import { refuseMappedFiles } from "../plan/refuse-mapped-files.js";
import { type CopiedDisk, planOf, type Plan } from "../plan/step.js";

/**
 * For a guest that migrates here. The note comes first, so that whatever was made can be found again by whoever goes
 * on; the answer comes last, when every volume that it names is there. Pure. @throws what planProvide throws
 */
export function planArrival(
  guest: Guest,
  facts: readonly DiskFacts[],
  copies: readonly CopiedDisk[],
  now: Date,
): Plan {
  const plan = planProvide(guest, facts, now, copies);
  refuseMappedFiles(guest, plan);
  if (plan.stages.length === 0) return plan;
  return planOf(
    [{ kind: "note-arrival", copies }],
    ...plan.stages,
    copies.length === 0 ? [] : [{ kind: "answer-configuration", copies }],
  );
}
