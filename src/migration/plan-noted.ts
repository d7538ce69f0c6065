import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
import type { Guest } from "../host/host-adapter.js";
import { cannotStart } from "../plan/cannot-start.js";
import type { DiskFacts } from "../plan/facts.js";
import { planProvide } from "../plan/plan-provide.js";
import type { Plan } from "../plan/step.js";
import type { NotedArrival } from "./arrivals.js";

/**
 * For a start of a guest about which there is a note: it arrives now, or has arrived and was not settled yet. Nothing is
 * formatted. Pure. @throws what planProvide throws; LUKS_UUID_MISMATCH where the configuration was not put right yet
 */
export function planNoted(
  guest: Guest,
  noted: NotedArrival | "damaged",
  facts: readonly DiskFacts[],
  now: Date,
): Plan {
  const copies = noted === "damaged" ? [] : noted.copies;
  for (const { disk, from, to } of copies) {
    const fact = facts.find((one) => one.disk.dev === disk);
    if (fact?.kind !== "annotated" || fact.uuid !== from.uuid) continue;
    if (fact.probe?.kind === "luks" && fact.probe.header.uuid === from.uuid) continue;
    throw new LuksmithError("LUKS_UUID_MISMATCH", {
      what: `${cannotStart(guest)}: disk ${disk} names key ${from.uuid}, which it had before it migrated here`,
      why: `here it has key ${to.uuid}, which the guest's configuration does not say yet`,
      hint: "run: luksmith reap, and start the guest again",
    });
  }
  try {
    return planProvide(guest, facts, now);
  } catch (thrown) {
    const error = asLuksmithError(thrown);
    throw error.code === "VOLUME_NOT_FORMATTED" && noted !== "damaged" ? notNow(error, noted) : error;
  }
}

function notNow({ message: what }: LuksmithError, { since }: NotedArrival): LuksmithError {
  return new LuksmithError("VOLUME_NOT_FORMATTED", {
    what,
    why: `it was noted at ${since.toISOString()} that the guest migrates here, and no disk is formatted meanwhile`,
    hint: "if it does not migrate: run luksmith reap, 5 minutes after that time or later, and start the guest again",
  });
}
