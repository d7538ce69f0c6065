import { type Change, changesBetween, namedItems, type Path, placeIn, withChanges } from "./changes.js";
import type { Field } from "./field.js";
import { type Json, sameJson } from "./json.js";
import { childOf } from "./pointer.js";
import { renamesIn } from "./renames.js";
import { secretOf } from "./secrets.js";

/** Settings that two people started from, and what each has. */
export interface ThreeSides {
  readonly base: Json | undefined;
  readonly mine: Json | undefined;
  readonly theirs: Json | undefined;
}

/** What two who started from the same settings have made of them. */
export interface Merge {
  /** Mine, without those that the other one made too. */
  readonly mine: readonly Change[];
  /** Mine that touch what the other one has changed as well. */
  readonly overlapping: readonly Change[];
  /** Theirs with all of mine on top. */
  readonly withAll: Json | undefined;
  /** Theirs with those of mine that touch nothing of theirs. */
  readonly withoutOverlap: Json | undefined;
}

export function merge(form: Field, { base, mine, theirs }: ThreeSides): Merge {
  const others = changesBetween(form, base, theirs);
  const own = changesBetween(form, base, mine).filter(
    (change) => !others.some((other) => isSame(change, other)),
  );
  const touching = own.filter((change) => others.some((other) => overlaps(change, other)));
  // half of a rename leaves the item there twice
  const renamed: Change[] = renamesIn(own)
    .filter((pair) => pair.some((half) => touching.includes(half)))
    .flat();
  const overlapping = own.filter((change) => touching.includes(change) || renamed.includes(change));
  const free = own.filter((change) => !overlapping.includes(change));
  return {
    mine: own,
    overlapping,
    withAll: withChanges(
      theirs,
      own.map((change) => revived(change, mine, theirs)),
    ),
    withoutOverlap: withChanges(theirs, free),
  };
}

/** A change within an item that the other one has removed brings the item back, as it is with the change. */
function revived(change: Change, mine: Json | undefined, theirs: Json | undefined): Change {
  let [own, other] = [mine, theirs];
  for (const [depth, name] of change.path.entries()) {
    const items = namedItems(own);
    const item = items === undefined ? childOf(own, name) : items.get(name);
    const others = namedItems(other);
    if (items !== undefined && others?.has(name) !== true && item !== undefined && change.kind !== "entry") {
      const place = placeIn([...items.keys()], name);
      return { kind: "entry", path: change.path.slice(0, depth + 1), after: item, ...place };
    }
    [own, other] = [item, others === undefined ? childOf(other, name) : others.get(name)];
  }
  return change;
}

function isSame(one: Change, other: Change): boolean {
  if (!samePath(one.path, other.path)) return false;
  if (one.kind === "order" || other.kind === "order") {
    return one.kind === "order" && other.kind === "order" && sameJson(one.names, other.names);
  }
  return sameJson(one.after, other.after);
}

/** Also two that only came to one list or were moved in it: its order has a meaning. */
function overlaps(one: Change, other: Change): boolean {
  const [list, otherList] = [listOf(one), listOf(other)];
  if (list !== undefined && otherList !== undefined && samePath(list, otherList)) return true;
  return begins(placeOf(one), placeOf(other)) || begins(placeOf(other), placeOf(one));
}

function listOf({ kind, path }: Change): Path | undefined {
  switch (kind) {
    case "value":
      return undefined;
    case "entry":
      return path.slice(0, -1);
    case "order":
      return path;
  }
}

/** The order of a list is a place beside its items; nothing else has no name. A secret and its file are one place. */
function placeOf({ kind, path }: Change): Path {
  switch (kind) {
    case "order":
      return [...path, ""];
    case "entry":
      return path;
    case "value":
      return [...path.slice(0, -1), ...path.slice(-1).map((name) => secretOf(name) ?? name)];
  }
}

function begins(path: Path, beginning: Path): boolean {
  return beginning.every((name, index) => path[index] === name);
}

function samePath(one: Path, other: Path): boolean {
  return one.length === other.length && begins(one, other);
}
