import { asLuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import type { Secret } from "../../secret/secret.js";
import { masterKeyIdOf } from "../file/stored-key.js";
import { CacheDirectory } from "./cache-directory.js";
import { openCopy } from "./cached-key.js";
import { systemInstant } from "./instant.js";
import { CACHE_PLACES, isThereAny } from "./places.js";
import { CachePolicy, type CacheSettings } from "./policy.js";

/** How many copies open, and what keeps the others from it, each reason once. */
export interface CacheTrial {
  readonly usable: number;
  readonly unusable: number;
  readonly reasons: readonly string[];
}

/**
 * Opens every copy that should open, and changes nothing; undefined where there is no cache. Those that are too old, or
 * that the settings do not want any more, are not counted: a hook removes them.
 */
export async function tryCopies(
  settings: CacheSettings,
  runner: CommandRunner,
  places = CACHE_PLACES,
  now = systemInstant(),
): Promise<CacheTrial | undefined> {
  if (!isThereAny(places)) return undefined;
  const policy = new CachePolicy(settings);
  const reasons: string[] = [];
  let usable = 0;
  for (const place of places) {
    const directory = new CacheDirectory(place, {
      settings: settings.cache.protector ?? { type: "file" },
      runner,
    });
    if (!directory.exists()) continue;
    const copies = directory.uuids().flatMap((uuid) => directory.read(uuid) ?? []);
    const wanted = copies.filter(
      (copy) => copy === "damaged" || policy.judge(copy, place.medium, now) === "usable",
    );
    if (wanted.length === 0) continue;
    const masterKey = await directory.masterKey().catch((thrown: unknown) => asLuksmithError(thrown));
    for (const copy of wanted) {
      if (masterKey instanceof Error) reasons.push(masterKey.message);
      else if (copy !== "damaged" && masterKey !== undefined && opens(copy, masterKey)) usable += 1;
      else reasons.push(`a copy in ${directory.path} is damaged`);
    }
  }
  return { usable, unusable: reasons.length, reasons: [...new Set(reasons)] };
}

function opens(copy: Parameters<typeof openCopy>[0], masterKey: Secret): boolean {
  using passphrase = copy.masterKey === masterKeyIdOf(masterKey) ? openCopy(copy, masterKey) : undefined;
  return passphrase !== undefined;
}
