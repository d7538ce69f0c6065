import { createHash } from "node:crypto";
import type { KeyRecord } from "../../generated/key-record.js";
import { DEFAULT_PROFILE, type EffectiveSettings } from "../../settings/settings.js";
import type { Copy } from "./cached-key.js";
import { type Instant, secondsBetween } from "./instant.js";
import { originOf } from "./origin.js";

/** The part of the settings that decides about copies. */
export type CacheSettings = Pick<EffectiveSettings, "profiles" | "cache"> & {
  readonly keystores: readonly { readonly name: string; readonly type: string }[];
};

/** Where copies are kept. */
export type Medium = "memory" | "sealed";

/** What may be done with a copy. */
export type Verdict = "usable" | "expired" | "unwanted";

/** The type of the keystore on this host itself, whose keys need no copy. */
const LOCAL_TYPE = "file";

/** What the settings say about copies, at the moment of use: a copy carries no rights of its own. */
export class CachePolicy {
  readonly #settings: CacheSettings;

  constructor(settings: CacheSettings) {
    this.#settings = settings;
  }

  /** Where a copy of this key is to be kept; undefined for nowhere. A pending key is for formatting. */
  mediumOf(keystore: string, record: KeyRecord): Medium | undefined {
    const type = this.#settings.keystores.find(({ name }) => name === keystore)?.type;
    if (type === undefined || type === LOCAL_TYPE || record.state !== "active") return undefined;
    const medium = this.#profileOf(record)?.cache ?? "off";
    return medium === "off" ? undefined : medium;
  }

  /** Where this keystore is, in a word; undefined for one that the settings do not have. */
  originOf(keystore: string): string | undefined {
    const settings = this.#settings.keystores.find(({ name }) => name === keystore);
    return settings && originOf(settings);
  }

  judge(copy: Copy, medium: Medium, now: Instant): Verdict {
    if (this.mediumOf(copy.keystore, copy.record) !== medium) return "unwanted";
    if (this.originOf(copy.keystore) !== copy.origin) return "unwanted";
    return this.secondsLeft(copy, now) > 0 ? "usable" : "expired";
  }

  secondsLeft({ record, fetched }: Copy, now: Instant): number {
    return this.#seconds(record) - secondsBetween(fetched, now);
  }

  /**
   * Whether a copy need not be made anew yet: an eighth of its time is the price for starts that do not write. The
   * passphrase is not compared, since for that the copy would have to be opened.
   */
  isFresh({ record, fetched }: Copy, now: Instant): boolean {
    return secondsBetween(fetched, now) < this.#seconds(record) / 8;
  }

  /** Whether any profile has copies kept there. */
  uses(medium: Medium): boolean {
    return this.#settings.profiles.some(({ cache }) => cache === medium);
  }

  /** Another text for other settings. */
  digest(): string {
    const profiles = this.#settings.profiles.map(({ name, cache, cacheHours }) => [name, cache, cacheHours]);
    const keystores = this.#settings.keystores.map((keystore) => [keystore.name, originOf(keystore)]);
    const all = [profiles, keystores, this.#settings.cache];
    return createHash("sha256").update(JSON.stringify(all)).digest("hex");
  }

  #seconds(record: KeyRecord): number {
    return (this.#profileOf(record)?.cacheHours ?? 0) * 3600;
  }

  #profileOf({ profile = DEFAULT_PROFILE }: KeyRecord): EffectiveSettings["profiles"][number] | undefined {
    return this.#settings.profiles.find(({ name }) => name === profile);
  }
}
