import type { CommandRunner } from "../../exec/command-runner.js";
import type { CacheOptions } from "./file-key-cache.js";
import type { KeyCache } from "./key-cache.js";
import { CACHE_PLACES, isThereAny } from "./places.js";

type Options = Omit<CacheOptions, "places" | "protection"> &
  Partial<Pick<CacheOptions, "places">> & {
    /** Starts what a protector needs. */
    readonly runner: CommandRunner;
  };

/**
 * The cache that the settings ask for, loaded when a key is first looked for. Undefined where no profile has one and
 * nothing is left of an earlier one.
 */
export function keyCacheFor({
  places = CACHE_PLACES,
  runner,
  ...options
}: Options): (() => Promise<KeyCache>) | undefined {
  const { profiles, cache: own } = options.settings;
  const isWanted = profiles.some(({ cache }) => cache !== "off");
  if (!isWanted && !isThereAny(places)) return undefined;
  let loading: Promise<KeyCache> | undefined;
  const load = async () => {
    const { FileKeyCache } = await import("./file-key-cache.js");
    const protection = { settings: own.protector ?? { type: "file" }, runner };
    return new FileKeyCache({ ...options, places, protection });
  };
  return () => (loading ??= load());
}
