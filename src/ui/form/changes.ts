import type { Field } from "./field.js";
import { isList, isObject, type Json, sameJson, textIn } from "./json.js";
import { branchOf, childField } from "./navigate.js";
import { childOf, setAt, within } from "./pointer.js";

/**
 * Names from the whole down to a place in the settings. Items of a list that have names of their own are called by
 * them: a rule that somebody else has moved is still the same rule.
 */
export type Path = readonly string[];

export type Change =
  | { readonly kind: "value"; readonly path: Path; readonly before?: Json; readonly after?: Json }
  /** An item of a list came or went; `previous` is, or was, the one before it. */
  | {
      readonly kind: "entry";
      readonly path: Path;
      readonly before?: Json;
      readonly after?: Json;
      readonly previous?: string;
    }
  | { readonly kind: "order"; readonly path: Path; readonly names: readonly string[] };

/** What makes `after` of `before`, setting by setting. `field` shows both. */
export function changesBetween(
  field: Field | undefined,
  before: Json | undefined,
  after: Json | undefined,
  path: Path = [],
): Change[] {
  if (sameJson(before, after)) return [];
  const former = before ?? startOf(field, after);
  if (isObject(former) && isObject(after) && !isAnotherKind(field, former, after)) {
    const names = new Set([...Object.keys(former), ...Object.keys(after)]);
    return [...names].flatMap((name) => {
      const child = field === undefined ? undefined : childField(field, after, name);
      return changesBetween(child, former[name], after[name], [...path, name]);
    });
  }
  const was = namedItems(before);
  const is = namedItems(after);
  if (was !== undefined && is !== undefined) return changesOfList({ field, before: was, after: is, path });
  return [{ kind: "value", path, ...said({ before, after }) }];
}

/** A group that was left out said nothing, which is not worth telling of its own. */
function startOf(field: Field | undefined, after: Json | undefined): Json | undefined {
  const saysSomething = isObject(after) && Object.keys(after).length > 0;
  return field?.kind === "group" && saysSomething ? {} : undefined;
}

/** Of two branches nothing belongs together: one takes the other's place as a whole. */
function isAnotherKind(field: Field | undefined, before: Json, after: Json): boolean {
  return field?.kind === "variant" && branchOf(field, before) !== branchOf(field, after);
}

/** `value` with the changes made, which may have been found between two other values. */
export function withChanges(value: Json | undefined, changes: readonly Change[]): Json | undefined {
  return changes.reduce<Json | undefined>((result, change) => withChange(result, change.path, change), value);
}

/** By name, in order; undefined for what is no list of objects with a name of their own each. */
export function namedItems(value: Json | undefined): Map<string, Json> | undefined {
  if (!isList(value)) return undefined;
  const items = new Map(value.map((item) => [textIn(item, "name") ?? "", item]));
  return items.size === value.length && !items.has("") ? items : undefined;
}

interface Lists {
  readonly field: Field | undefined;
  readonly before: Map<string, Json>;
  readonly after: Map<string, Json>;
  readonly path: Path;
}

function changesOfList({ field, before, after, path }: Lists): Change[] {
  const item = field?.kind === "list" ? field.item : undefined;
  const names = [...after.keys()];
  const kept = names.filter((name) => before.has(name));
  const gone = [...before].filter(([name]) => !after.has(name));
  const moved = [...before.keys()]
    .filter((name) => after.has(name))
    .some((name, index) => name !== kept[index]);
  return [
    ...gone.map(([name, item]): Change => ({
      ...{ kind: "entry", path: [...path, name], before: item },
      ...placeIn([...before.keys()], name),
    })),
    ...names.flatMap((name): Change[] => {
      const here = [...path, name];
      if (before.has(name)) return changesBetween(item, before.get(name), after.get(name), here);
      return [{ kind: "entry", path: here, ...said({ after: after.get(name) }), ...placeIn(names, name) }];
    }),
    ...(moved ? [{ kind: "order", path, names } satisfies Change] : []),
  ];
}

/** Behind which one the name is; nothing for the first. */
export function placeIn(names: readonly string[], name: string): { readonly previous?: string } {
  const previous = names[names.indexOf(name) - 1];
  return previous === undefined ? {} : { previous };
}

function withChange(value: Json | undefined, [name, ...rest]: Path, change: Change): Json | undefined {
  if (name === undefined) return change.kind === "order" ? inOrder(value, change.names) : change.after;
  const isEntry = change.kind === "entry" && rest.length === 0;
  const items = namedItems(isEntry ? (value ?? []) : value);
  if (items !== undefined) {
    // what belongs to an item that is gone has no place
    if (!isEntry && !items.has(name)) return value;
    return withItem(items, name, withChange(items.get(name), rest, change), change);
  }
  return setAt(value, within("", name), withChange(childOf(value, name), rest, change));
}

function withItem(
  items: Map<string, Json>,
  name: string,
  item: Json | undefined,
  change: Change,
): readonly Json[] {
  const others = [...items].filter(([other]) => other !== name).map(([, other]) => other);
  if (item === undefined) return others;
  if (items.has(name)) return [...items].map(([other, old]) => (other === name ? item : old));
  const previous = change.kind === "entry" ? change.previous : undefined;
  const at = others.findIndex((other) => textIn(other, "name") === previous);
  if (previous === undefined) return [item, ...others];
  return at === -1 ? [...others, item] : others.toSpliced(at + 1, 0, item);
}

/** What `names` does not have stays behind those that it has. */
function inOrder(value: Json | undefined, names: readonly string[]): Json | undefined {
  if (!isList(value)) return value;
  const rank = (item: Json) => {
    const index = names.indexOf(textIn(item, "name") ?? "");
    return index === -1 ? names.length : index;
  };
  return value.toSorted((one, other) => rank(one) - rank(other));
}

function said(values: { before?: Json | undefined; after?: Json | undefined }) {
  return {
    ...(values.before === undefined ? {} : { before: values.before }),
    ...(values.after === undefined ? {} : { after: values.after }),
  };
}
