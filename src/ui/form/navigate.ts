import type { Branch, Field, ListField, TextsField, VariantField } from "./field.js";
import { fileOf } from "./fields-of.js";
import { isList, type Json, textIn } from "./json.js";
import { childOf, type Pointer, tokensOf } from "./pointer.js";

/** The field that shows what `pointer` points to in `value`. */
export function fieldAt(form: Field, value: Json | undefined, pointer: Pointer): Field | undefined {
  let field: Field | undefined = form;
  let place = value;
  for (const token of tokensOf(pointer)) {
    if (field === undefined) return undefined;
    field = childField(field, place, token);
    place = childOf(place, token);
  }
  return field;
}

/** The field of the property, or the list's item, that `token` names. `value`: what the field itself shows. */
export function childField(field: Field, value: Json | undefined, token: string): Field | undefined {
  switch (field.kind) {
    case "group":
      return named(field.fields, token);
    case "variant":
      return named(branchOf(field, value)?.fields ?? [], token);
    case "list":
    case "texts":
      return field.item;
    case "tag":
    case "text":
    case "number":
    case "choice":
    case "secret":
      return undefined;
  }
}

export function branchOf(variant: VariantField, value: Json | undefined): Branch | undefined {
  const tag = textIn(value, variant.tag);
  return variant.branches.find((branch) => branch.value === tag);
}

/** What a list holds, be it said or its default. */
export function itemsOf(list: ListField | TextsField, value: Json | undefined): readonly Json[] {
  if (isList(value)) return value;
  return isList(list.fallback) ? list.fallback : [];
}

function named(fields: readonly Field[], name: string): Field | undefined {
  for (const field of fields) {
    if (field.name === name) return field;
    if (field.kind === "secret" && fileOf(field.name) === name) return field.file;
  }
  return undefined;
}
