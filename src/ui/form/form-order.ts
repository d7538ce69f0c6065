import type { Field } from "./field.js";
import { fileOf } from "./fields-of.js";
import type { Json } from "./json.js";
import { branchOf, childField } from "./navigate.js";
import { childOf, type Pointer, tokensOf } from "./pointer.js";

/** In the order in which a form of `settings` shows the places; what has no field comes after what is around it. */
export function inFormOrder<Placed extends { readonly pointer: Pointer }>(
  form: Field,
  settings: Json | undefined,
  placed: readonly Placed[],
): Placed[] {
  return placed
    .map((one) => ({ one, ranks: ranksOf(form, settings, one.pointer) }))
    .toSorted((left, right) => compare(left.ranks, right.ranks))
    .map(({ one }) => one);
}

/** For each step into the settings, how many fields or items the form shows before it. */
function ranksOf(form: Field, settings: Json | undefined, pointer: Pointer): number[] {
  let field: Field | undefined = form;
  let value = settings;
  return tokensOf(pointer).map((token) => {
    const rank = field === undefined ? Infinity : rankOf(field, value, token);
    field = field === undefined ? undefined : childField(field, value, token);
    value = childOf(value, token);
    return rank;
  });
}

function rankOf(field: Field, value: Json | undefined, token: string): number {
  switch (field.kind) {
    case "group":
      return placeAmong(field.fields, token);
    case "variant":
      return token === field.tag ? -1 : placeAmong(branchOf(field, value)?.fields ?? [], token);
    case "list":
    case "texts":
      return Number(token);
    case "tag":
    case "text":
    case "number":
    case "choice":
    case "secret":
      return Infinity;
  }
}

/** A secret is right before its file. */
function placeAmong(fields: readonly Field[], name: string): number {
  const names = fields.flatMap((field) =>
    field.kind === "secret" ? [field.name, fileOf(field.name)] : [field.name],
  );
  const place = names.indexOf(name);
  return place === -1 ? Infinity : place;
}

/** Whatever has something comes before what it has. */
function compare(left: readonly number[], right: readonly number[]): number {
  const step = left.findIndex((rank, index) => rank !== right[index]);
  if (step === -1) return left.length - right.length;
  const [one = 0, other = -1] = [left[step], right[step]];
  return one < other ? -1 : 1;
}
