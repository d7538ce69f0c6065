import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { DiskFacts } from "../../src/plan/facts.js";
import { planPreStart } from "../../src/plan/plan-pre-start.js";
import { renderStep } from "../../src/plan/render.js";
import type { Plan } from "../../src/plan/step.js";
import { guestWith, header, NOW } from "./builders.js";

export const GUEST = guestWith();

export function planFor(...facts: DiskFacts[]): Plan {
  return planPreStart(GUEST, facts, NOW);
}

/** What the start is refused with. */
export function refusal(...facts: DiskFacts[]): LuksmithError {
  try {
    planFor(...facts);
  } catch (thrown) {
    if (thrown instanceof LuksmithError) return thrown;
    throw thrown;
  }
  throw new Error("nothing was refused");
}

/** The plan as a person reads it, stages apart. */
export function text(plan: Plan): string {
  return plan.stages.map((stage) => stage.map(renderStep).join("\n")).join("\n--\n") + "\n";
}

export const luks = (n: number) => ({ kind: "luks", header: header(n) }) as const;
