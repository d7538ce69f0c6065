import { LuksmithError } from "../error/luksmith-error.js";
import type { Guest } from "../host/host-adapter.js";
import type { DiskFacts } from "./facts.js";
import { planPreStart } from "./plan-pre-start.js";
import { planOf, type Plan } from "./step.js";

/**
 * For a guest that ran before (restore, incoming migration): its disks must be there and formatted, so nothing is
 * ever formatted here. @throws what planPreStart throws; VOLUME_NOT_FORMATTED for a disk that is new
 */
export function planProvide(guest: Guest, facts: readonly DiskFacts[], now: Date): Plan {
  const plan = planPreStart(guest, facts, now);
  for (const step of plan.stages.flat()) {
    if (step.kind !== "format") continue;
    throw new LuksmithError("VOLUME_NOT_FORMATTED", {
      what: `cannot resume guest ${guest.name}: disk ${step.disk} was never formatted on this host`,
      why: "a guest that is restored or migrated brings disks that it has used before",
      hint: "check that the same storage is mounted here",
    });
  }
  return plan;
}

/**
 * For a guest that is running (the host manager restarted and lost its secrets): whatever key can be found is
 * provided again, nothing is judged. A guest must not die for a check that can wait for its next start.
 */
export function planReconnect(facts: readonly DiskFacts[]): Plan {
  const secrets = facts.flatMap((fact) =>
    fact.kind === "annotated" && fact.key.kind === "found" ? [{ disk: fact.disk.dev, uuid: fact.uuid }] : [],
  );
  return planOf(secrets.length === 0 ? [] : [{ kind: "provide-secrets", secrets }]);
}
