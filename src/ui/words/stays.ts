import type { ProfileRemoval, Removal } from "../form/removal.js";

type Refusal<T extends { readonly kind: string }> = Extract<T, { readonly kind: "refused" }>;

/** Why a keystore cannot be taken out of the settings, and what to do first. */
export function whyKeystoreStays(refusal: Refusal<Removal>): string {
  if (refusal.why === "only-one") return "It is the only keystore. Add the one that is to replace it first.";
  const { profiles, isFirst } = refusal;
  const users =
    profiles.length === 1 ? `Profile ${profiles.join()} uses` : `Profiles ${profiles.join(", ")} use`;
  const reason = isFirst ? " it, by its name or because it is the first" : " it";
  return `${users}${reason}. Choose another keystore in every one of them first.`;
}

/** Why a profile cannot be taken out of the settings, and what to do first. */
export function whyProfileStays(refusal: Refusal<ProfileRemoval>): string {
  if (refusal.why === "default") {
    return "Whoever asks for no other profile gets the one of this name, so there must be one. Change what it says instead.";
  }
  const { rules } = refusal;
  const users = rules.length === 1 ? `Rule ${rules.join()} names` : `Rules ${rules.join(", ")} name`;
  return `${users} it. Choose another profile in every one of them first.`;
}
