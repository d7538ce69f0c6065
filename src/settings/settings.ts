import { LuksmithError } from "../error/luksmith-error.js";
import type { Profile, Rule, Settings } from "../generated/settings.js";
import type { KeystoreSettings } from "../keystore/index.js";
import type { StorageSettings } from "../storage/index.js";

/** The settings as the code uses them: every default of the schema filled in. */
export interface EffectiveSettings extends Required<
  Omit<Settings, "keystores" | "profiles" | "rules" | "storage" | Section>
> {
  readonly encryption: FilledSection<"encryption">;
  readonly legacy: LegacySettings;
  readonly proxmox: ProxmoxSettings;
  readonly headers: FilledSection<"headers">;
  readonly rotation: FilledSection<"rotation">;
  readonly recovery: FilledSection<"recovery">;
  readonly audit: FilledSection<"audit">;
  readonly shred: FilledSection<"shred">;
  readonly keystores: readonly [KeystoreSettings, ...KeystoreSettings[]];
  readonly profiles: readonly EffectiveProfile[];
  readonly rules: readonly EffectiveRule[];
  readonly storage: StorageSettings;
}

type Section = "encryption" | "legacy" | "proxmox" | "headers" | "rotation" | "recovery" | "audit" | "shred";

export type FilledSection<Name extends Section> = Required<NonNullable<Settings[Name]>>;

/** Nova's [ephemeral_storage_encryption]. */
export type LegacySettings = FilledSection<"legacy">;

export type ProxmoxSettings = FilledSection<"proxmox">;

/** `keystore` is the first keystore where the profile names none. */
export type EffectiveProfile = Required<Profile>;

/** What a rule does not name (guest, tag, storage, profile) stays undefined: it has no say about it. */
export type EffectiveRule = Rule & Required<Pick<Rule, "name" | "encrypt">>;

export { DEFAULT_PROFILE } from "./default-profile.js";

/** @throws PROFILE_UNKNOWN, naming the known ones */
export function profileNamed(
  { profiles }: Pick<EffectiveSettings, "profiles">,
  name: string,
): EffectiveProfile {
  const profile = profiles.find((candidate) => candidate.name === name);
  if (profile !== undefined) return profile;
  throw new LuksmithError("PROFILE_UNKNOWN", {
    what: `there is no profile ${name}`,
    hint: `the settings have: ${profiles.map((known) => known.name).join(", ")}`,
  });
}
