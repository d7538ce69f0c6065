import type { DiskMapping } from "../disk-info/disk-info.js";
import type { Guest } from "../host/host-adapter.js";
import type { EffectiveRule } from "../settings/settings.js";
import { type Volume, volumeName } from "../storage/volume.js";
import type { Ask } from "./ask.js";
import { matchesPattern } from "./name-pattern.js";

/** What the operator's rules say about a disk: the first one that matches speaks, and no other. */
export function ruleAsk(
  rules: readonly EffectiveRule[],
  guest: Pick<Guest, "name" | "tags">,
  disk: DiskMapping,
): Ask | undefined {
  const rule = rules.find((candidate) => matches(candidate, guest, disk));
  if (rule === undefined) return undefined;
  return {
    source: `rule ${rule.name}`,
    enabled: rule.encrypt,
    ...(rule.profile === undefined ? {} : { profile: rule.profile }),
  };
}

function matches(rule: EffectiveRule, guest: Pick<Guest, "name" | "tags">, disk: DiskMapping): boolean {
  return (
    (rule.guest === undefined || matchesPattern(rule.guest, guest.name)) &&
    (rule.tag === undefined || guest.tags.includes(rule.tag)) &&
    (rule.storage === undefined || matchesPattern(rule.storage, pathOf(disk.volume)))
  );
}

/** A volume without a path goes by its description, so that the storage pattern `*` leaves none out. */
function pathOf(volume: Volume): string {
  return volume.kind === "other" && volume.path !== undefined ? volume.path : volumeName(volume);
}
