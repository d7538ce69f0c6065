import { posix } from "node:path";
import type { DiskMapping } from "../disk-info/disk-info.js";
import type { Guest } from "../host/host-adapter.js";
import type { EffectiveRule } from "../settings/settings.js";
import { type Volume, volumeName } from "../storage/volume.js";
import type { Ask } from "./ask.js";
import { matchesPattern } from "./name-pattern.js";

/** A guest as far as rules look at it. */
type MatchedGuest = Pick<Guest, "name" | "tags" | "pool">;

/** What the operator's rules say about a disk: the first one that matches speaks, and no other. */
export function ruleAsk(
  rules: readonly EffectiveRule[],
  guest: MatchedGuest,
  disk: DiskMapping,
): Ask | undefined {
  const spoken = speakingRule(rules, guest, disk);
  if (spoken === undefined) return undefined;
  const { rule, match } = spoken;
  return {
    source: match === "yes" ? `rule ${rule.name}` : `rule ${rule.name} (${PATH_UNKNOWN})`,
    enabled: rule.encrypt,
    ...(rule.profile === undefined ? {} : { profile: rule.profile }),
  };
}

/** The first rule that matches, and how sure that is. */
export function speakingRule(
  rules: readonly EffectiveRule[],
  guest: MatchedGuest,
  disk: DiskMapping,
): { readonly rule: EffectiveRule; readonly match: "yes" | "path-unknown" } | undefined {
  for (const rule of rules) {
    const match = matchesGuest(rule, guest) ? matchStorage(rule, disk.volume) : "no";
    if (match !== "no") return { rule, match };
  }
  return undefined;
}

const PATH_UNKNOWN = "the volume's path cannot be known, so the rule's storage pattern counts as matching";

function matchesGuest(rule: EffectiveRule, { name, tags, pool }: MatchedGuest): boolean {
  return (
    (rule.guest === undefined || matchesPattern(rule.guest, name)) &&
    (rule.tag === undefined || tags.includes(rule.tag)) &&
    (rule.pool === undefined || isInPool(rule.pool, pool))
  );
}

/** A pool may have pools in it: `finance/payroll` is in `finance`. */
function isInPool(wanted: string, pool: string | undefined): boolean {
  return pool === wanted || pool?.startsWith(`${wanted}/`) === true;
}

/**
 * In doubt encryption is asked for: such a rule also takes a path that matches as it is written only, and a volume
 * whose path cannot be known. A rule against encryption takes neither: `/scratch/../srv/a.img` is not in `/scratch`.
 */
function matchStorage({ storage, encrypt }: EffectiveRule, volume: Volume): "yes" | "no" | "path-unknown" {
  if (storage === undefined) return "yes";
  const text = textOf(volume);
  if (matchesPattern(storage, normalized(text))) return "yes";
  if (!encrypt) return "no";
  if (matchesPattern(storage, text)) return "yes";
  return volume.kind === "other" && volume.pathUnknown ? "path-unknown" : "no";
}

/** A volume without a path goes by its description, so that the storage pattern `*` leaves none out. */
function textOf(volume: Volume): string {
  return volume.kind === "other" && volume.path !== undefined ? volume.path : volumeName(volume);
}

/** Without `//`, `/./` and `/../`; symbolic links are not followed: rules are decided without I/O. */
function normalized(text: string): string {
  return text.startsWith("/") ? posix.normalize(text) : text;
}
