import { readdirSync } from "node:fs";
import { join } from "node:path";
import { ifThere } from "../fs/if-there.js";
import type { EffectiveSettings } from "../settings/settings.js";

type Keystores = Pick<EffectiveSettings, "keystores">;

/** A line for each file keystore that has keys, and that the new settings do not name by whatever name. */
export function warningsOfDropped(before: Keystores, after: Keystores): string[] {
  const kept = new Set(after.keystores.flatMap((one) => (one.type === "file" ? [one.directory] : [])));
  return before.keystores.flatMap((one) => {
    if (one.type !== "file" || kept.has(one.directory)) return [];
    const names = ifThere(() => readdirSync(join(one.directory, "records"))) ?? [];
    const count = names.filter((name) => /^[0-9a-f-]{36}\.json$/.test(name)).length;
    if (count === 0) return [];
    const keys = count === 1 ? "1 key" : `${count} keys`;
    return [
      `keystore ${one.name} (${one.directory}) has ${keys}, and these settings leave it out: disks that need them do not open; keep it in the settings beside the new one, then move them: luksmith keys migrate --from ${one.name} --to NAME`,
    ];
  });
}
