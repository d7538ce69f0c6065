import type { Field, ListField } from "../../form/field.js";
import { settingsForm } from "../../form/fields-of.js";

/** Made once: the schema does not change while a page is shown. */
export const FORM = settingsForm();

/** Keystores, profiles or rules. */
export function listNamed(name: "keystores" | "profiles" | "rules"): ListField {
  const field = FORM.fields.find((candidate) => candidate.name === name);
  if (field?.kind !== "list") throw new Error(`the settings have no list ${name}`);
  return field;
}

/** Everything else, in the schema's order. */
export function policyFields(): readonly Field[] {
  return FORM.fields.filter(({ name }) => !["keystores", "profiles", "rules"].includes(name));
}
