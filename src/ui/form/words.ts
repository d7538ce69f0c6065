import type { Change } from "./changes.js";
import type { Field } from "./field.js";
import { isList, isObject, type Json, sameJson, textIn } from "./json.js";
import { branchOf, childField } from "./navigate.js";
import { childOf, type Pointer, tokensOf } from "./pointer.js";

/** What a place in the settings is called on the page: `Keystores › vault › Time limit`. */
export function placeWords(form: Field, settings: Json | undefined, pointer: Pointer): string {
  return wordsOf(form, settings, tokensOf(pointer), childOf).words;
}

export interface ChangeWords {
  readonly place: string;
  readonly before: string;
  readonly after: string;
}

/** `settings`: those that have the place, before or after the change. Secrets are never in the words. */
export function changeWords(form: Field, settings: Json | undefined, change: Change): ChangeWords[] {
  const { words: place, field } = wordsOf(form, settings, change.path, itemNamed);
  switch (change.kind) {
    case "order":
      return [{ place, before: "in another order", after: change.names.join(", ") }];
    case "entry":
      return [{ place, before: presence(change.before), after: presence(change.after) }];
    case "value":
      return valueChangeWords(field, place, change);
  }
}

/** A group has no words of its own: what is in it has. */
function valueChangeWords(
  field: Field | undefined,
  place: string,
  { before, after }: { readonly before?: Json | undefined; readonly after?: Json | undefined },
): ChangeWords[] {
  if (field?.kind !== "group")
    return [{ place, before: valueWords(field, before), after: valueWords(field, after) }];
  return field.fields.flatMap((child) => {
    const [was, is] = [childOf(before, child.name), childOf(after, child.name)];
    return sameJson(was, is)
      ? []
      : valueChangeWords(child, `${place} › ${child.title}`, { before: was, after: is });
  });
}

function presence(item: Json | undefined): string {
  return item === undefined ? "not there" : "there";
}

export function valueWords(field: Field | undefined, value: Json | undefined): string {
  if (value === undefined)
    return field?.fallback === undefined ? "left out" : `default: ${plain(field, field.fallback)}`;
  return plain(field, value);
}

function plain(field: Field | undefined, value: Json): string {
  if (field?.kind === "secret") return "a new secret";
  if (field?.kind === "choice") {
    return field.choices.find((choice) => choice.value === value)?.label ?? JSON.stringify(value);
  }
  if (field?.kind === "variant") return branchOf(field, value)?.label ?? "something else";
  if (typeof value === "string") return value;
  if (isList(value)) return value.every((item) => typeof item === "string") ? value.join(", ") : "a list";
  return isObject(value) ? "an object" : String(value);
}

type Descend = (value: Json | undefined, token: string) => Json | undefined;

function itemNamed(value: Json | undefined, name: string): Json | undefined {
  return isList(value) ? value.find((item) => textIn(item, "name") === name) : childOf(value, name);
}

function wordsOf(form: Field, settings: Json | undefined, tokens: readonly string[], descend: Descend) {
  const words: string[] = [];
  let field: Field | undefined = form;
  let value = settings;
  for (const token of tokens) {
    const parent: Field | undefined = field;
    field = parent === undefined ? undefined : childField(parent, value, token);
    value = descend(value, token);
    const inList = parent?.kind === "list" || parent?.kind === "texts";
    const tagTitle = parent?.kind === "variant" && parent.tag === token ? parent.tagTitle : undefined;
    words.push(inList ? itemWords(value, token) : (field?.title ?? tagTitle ?? token));
  }
  return { words: words.join(" › ") || form.title, field };
}

/** Items have their names, or else count from 1. */
function itemWords(item: Json | undefined, token: string): string {
  const name = textIn(item, "name");
  if (name !== undefined && name !== "") return name;
  return /^[0-9]+$/.test(token) ? String(Number(token) + 1) : token;
}
