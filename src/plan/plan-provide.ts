import { LuksmithError } from "../error/luksmith-error.js";
import type { Guest } from "../host/host-adapter.js";
import { cannotStart } from "./cannot-start.js";
import type { DiskFacts } from "./facts.js";
import { planPreStart } from "./plan-pre-start.js";
import { type CopiedDisk, type OpeningKey, planOf, type Plan, type Step } from "./step.js";

/**
 * For a guest that ran before (restore, incoming migration): its disks must be there and formatted, so nothing is
 * formatted here but a volume that one of them is going to be copied to. A key that is pending although its volume has
 * its header (the keystore was restored from a backup) is activated without a proof of the passphrase, which would need
 * an image that the source may have locked.
 * @throws what planPreStart throws; VOLUME_NOT_FORMATTED for a disk that is new
 */
export function planProvide(
  guest: Guest,
  facts: readonly DiskFacts[],
  now: Date,
  copies: readonly CopiedDisk[] = [],
): Plan {
  const { stages } = planPreStart(guest, facts, now);
  const formatted = new Set(facts.filter(hasHeader).map(({ disk }) => disk.dev));
  const copied = new Set(copies.map(({ disk }) => disk));
  return planOf(
    ...stages.map((stage) =>
      stage.filter((step) => isOfCopy(step, copied) || isNoFormat(guest, step, formatted)),
    ),
  );
}

function isOfCopy(step: Step, copied: ReadonlySet<string>): boolean {
  return step.kind === "format" && copied.has(step.disk);
}

/** Whose header it is, planPreStart has checked. */
function hasHeader(fact: DiskFacts): boolean {
  return fact.kind === "annotated" && fact.probe?.kind === "luks";
}

function isNoFormat(guest: Guest, step: Step, formatted: ReadonlySet<string>): boolean {
  if (step.kind !== "format") return true;
  if (formatted.has(step.disk)) return false;
  const task = guest.arrives ? cannotStart(guest) : `cannot resume guest ${guest.name}`;
  throw new LuksmithError("VOLUME_NOT_FORMATTED", {
    what: `${task}: disk ${step.disk} was never formatted on ${guest.arrives ? "the target" : "this host"}`,
    why: "a guest that is restored or migrated brings disks that it has used before",
    hint: `check that the same storage is mounted ${guest.arrives ? "there" : "here"}`,
  });
}

/**
 * For a guest that is running (the host manager restarted and lost its secrets): whatever key was found is provided
 * again, nothing is judged. A guest must not die for a check that can wait for its next start.
 */
export function planReconnect(keys: readonly OpeningKey[]): Plan {
  // a guest that was started without us may have two disks of one key, which is one secret to the host
  const secrets = [...new Map(keys.map((key) => [`${key.uuid} ${key.opens ?? ""}`, key])).values()];
  return planOf(secrets.length === 0 ? [] : [{ kind: "provide-secrets", secrets }]);
}
