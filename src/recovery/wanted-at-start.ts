import type { DiskFacts } from "../plan/facts.js";
import type { Plan } from "../plan/step.js";
import type { EffectiveSettings } from "../settings/settings.js";
import { missingRecipients } from "./policy.js";

/**
 * Whether a disk of a guest that was made ready to start, or was formatted for it, lacks a recovery keyslot that the
 * settings want. Looks at nothing but what is known already.
 */
export function wantsRecovery(
  facts: readonly DiskFacts[],
  { stages }: Plan,
  settings: Pick<EffectiveSettings, "profiles">,
): boolean {
  if (settings.profiles.every(({ recovery }) => recovery.length === 0)) return false;
  const opened = facts.flatMap((fact) =>
    fact.kind === "annotated" && fact.key.kind === "found" && fact.key.cached === undefined
      ? [fact.key.record]
      : [],
  );
  const activated = stages.flat().flatMap((step) => (step.kind === "activate-key" ? [step.record] : []));
  const active = activated.map((record) => ({ ...record, state: "active" as const }));
  return [...opened, ...active].some((record) => missingRecipients(record, settings).length > 0);
}
