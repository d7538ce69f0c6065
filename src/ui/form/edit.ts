import type { Branch, Field, GroupField, VariantField } from "./field.js";
import { isObject, type Json, type JsonObject, sameJson, textIn } from "./json.js";
import { childField, itemsOf } from "./navigate.js";
import { childOf, type Pointer, pointerOf, setAt, tokensOf, within } from "./pointer.js";

/**
 * A copy of the form's `value` with `entered` there; undefined leaves the property out again. What nobody has entered
 * stays out of the settings: an object that becomes empty goes too, unless the schema wants it; a list's default is
 * written down as soon as one of its items is changed.
 */
export function enter(
  form: Field,
  value: Json | undefined,
  pointer: Pointer,
  entered: Json | undefined,
): Json | undefined {
  return enterBelow(form, value, tokensOf(pointer), entered);
}

/** The variant's object with another branch: what belonged to the old one goes, the name stays. */
export function withBranch(variant: VariantField, value: Json | undefined, branch: Branch): JsonObject {
  const name = textIn(value, "name");
  return {
    ...(name === undefined ? {} : { name }),
    [variant.tag]: branch.value,
    ...neededBy(branch.fields),
  };
}

/** The variant's object while nobody has chosen: undefined where it may be left out. */
export function withoutBranch(variant: VariantField, value: Json | undefined): JsonObject | undefined {
  if (variant.required === "optional") return undefined;
  const name = textIn(value, "name");
  return name === undefined ? {} : { name };
}

/** The beginning of a new item. */
export function newItem(item: GroupField | VariantField): JsonObject {
  return item.kind === "group" ? neededBy(item.fields) : {};
}

function enterBelow(
  field: Field,
  value: Json | undefined,
  [token, ...rest]: readonly string[],
  entered: Json | undefined,
): Json | undefined {
  if (token === undefined) return entered;
  const whole = field.kind === "list" || field.kind === "texts" ? itemsOf(field, value) : value;
  const child = childField(field, whole, token);
  const below = childOf(whole, token);
  const changed =
    child === undefined ? setAt(below, pointerOf(rest), entered) : enterBelow(child, below, rest, entered);
  const result = setAt(whole, within("", token), changed);
  return isSpare(field, result, changed) ? undefined : result;
}

/** Says nothing, or nothing but the default of a list. */
function isSpare(
  { kind, required, fallback }: Field,
  value: Json | undefined,
  changed: Json | undefined,
): boolean {
  if (required === "required") return false;
  if (kind === "list" || kind === "texts") return sameJson(value, fallback);
  return changed === undefined && kind === "group" && isObject(value) && Object.keys(value).length === 0;
}

/** Objects that the schema wants even where nothing is said in them. */
function neededBy(fields: readonly Field[]): JsonObject {
  const needed = fields.filter(({ kind, required }) => kind === "group" && required === "required");
  return Object.fromEntries(needed.map(({ name }) => [name, {}]));
}
