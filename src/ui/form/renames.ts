import type { Change } from "./changes.js";
import { isObject, type Json, sameJson, textIn } from "./json.js";

type Entry = Extract<Change, { kind: "entry" }>;

/** An item of a list that went, and the one that came in its stead. */
export type Rename = readonly [gone: Entry, came: Entry];

/** Items that only have another name, by what else they say, or by their kind and place where that was changed as well. */
export function renamesIn(changes: readonly Change[]): Rename[] {
  const entries = changes.filter((change) => change.kind === "entry");
  const renames: Rename[] = [];
  for (const isRename of [saysTheSame, isInItsPlace]) {
    for (const came of entries.filter(({ after }) => after !== undefined)) {
      const free = entries.filter((entry) => !renames.some((pair) => pair.includes(entry)));
      const gone = free.find(
        (entry) =>
          entry.before !== undefined && listOf(entry) === listOf(came) && isRename(entry, came, renames),
      );
      if (gone !== undefined && free.includes(came)) renames.push([gone, came]);
    }
  }
  return renames;
}

function saysTheSame({ before }: Entry, { after }: Entry): boolean {
  return sameJson(withoutName(before), withoutName(after));
}

function withoutName(item: Json | undefined): Json | undefined {
  if (!isObject(item)) return item;
  return Object.fromEntries(Object.entries(item).filter(([property]) => property !== "name"));
}

/** Behind the same one as before, whatever that is called by now. */
function isInItsPlace(gone: Entry, came: Entry, renames: readonly Rename[]): boolean {
  if (textIn(gone.before, "type") !== textIn(came.after, "type")) return false;
  const previous = renames.find(
    ([, other]) => listOf(other) === listOf(came) && nameOf(other) === came.previous,
  );
  return gone.previous === (previous === undefined ? came.previous : nameOf(previous[0]));
}

function listOf({ path }: Entry): string {
  return JSON.stringify(path.slice(0, -1));
}

function nameOf({ path }: Entry): string | undefined {
  return path.at(-1);
}
