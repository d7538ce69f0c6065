import { DEFAULT_PROFILE } from "../../settings/default-profile.js";
import { type Json, textIn } from "./json.js";
import { itemsNamed, namesOf, whoUses } from "./usage.js";

/** What stands against taking a keystore out of the settings. */
export type Removal =
  | { readonly kind: "refused"; readonly why: "only-one" }
  | {
      readonly kind: "refused";
      readonly why: "used";
      readonly profiles: readonly string[];
      readonly isFirst: boolean;
    }
  /** The host has never known it: no key can lie in it. */
  | { readonly kind: "new" }
  /** Keys may lie in it, under these names of it that the host knows. */
  | { readonly kind: "saved"; readonly names: readonly string[] };

/** Of the keystore at `index` of `edited`; `base` is what the host has. */
export function removalOf(base: Json | undefined, edited: Json | undefined, index: number): Removal {
  const keystores = itemsNamed(edited, "keystores");
  if (keystores.length < 2) return { kind: "refused", why: "only-one" };
  const name = textIn(keystores[index], "name");
  const others = keystores.filter((_, other) => other !== index).map((keystore) => textIn(keystore, "name"));
  const profiles = name === undefined || others.includes(name) ? [] : whoUses(edited, name);
  if (profiles.length > 0) return { kind: "refused", why: "used", profiles, isFirst: index === 0 };
  // one with a new name is the host's all the same: whatever it has and nobody else is called
  const lost = namesOf(base, "keystores").filter((known) => !others.includes(known));
  return lost.length === 0 ? { kind: "new" } : { kind: "saved", names: lost };
}

/** What stands against taking a profile out of the settings. */
export type ProfileRemoval =
  | { readonly kind: "refused"; readonly why: "default" }
  | { readonly kind: "refused"; readonly why: "used"; readonly rules: readonly string[] }
  | { readonly kind: "free" };

/** Of the profile at `index` of `edited`. */
export function profileRemovalOf(edited: Json | undefined, index: number): ProfileRemoval {
  const names = itemsNamed(edited, "profiles").map((profile) => textIn(profile, "name"));
  const name = names[index];
  if (name === undefined || names.indexOf(name) !== names.lastIndexOf(name)) return { kind: "free" };
  if (name === DEFAULT_PROFILE) return { kind: "refused", why: "default" };
  const rules = itemsNamed(edited, "rules").flatMap((rule, place) =>
    textIn(rule, "profile") === name ? [textIn(rule, "name") ?? String(place + 1)] : [],
  );
  return rules.length === 0 ? { kind: "free" } : { kind: "refused", why: "used", rules };
}
