import type { GroupField } from "./field.js";
import { type Json, sameJson, textIn } from "./json.js";
import { childField } from "./navigate.js";
import { childOf } from "./pointer.js";
import { itemsNamed } from "./usage.js";

/** A keystore that the host has, and that does not have its keys any more once the settings are saved. */
export interface Loss {
  readonly name: string;
  /** Removed or renamed, another kind of keystore, or another place on this host. */
  readonly why: "gone" | "type" | "directory";
}

/** Whatever way they were edited: with another type or name, a keystore is as lost as one that was removed. */
export function keystoresLost(form: GroupField, base: Json | undefined, edited: Json | undefined): Loss[] {
  const now = itemsNamed(edited, "keystores");
  return itemsNamed(base, "keystores").flatMap((was): Loss[] => {
    const name = textIn(was, "name");
    if (name === undefined) return [];
    const is = now.find((keystore) => textIn(keystore, "name") === name);
    if (is === undefined) return [{ name, why: "gone" }];
    if (textIn(was, "type") !== textIn(is, "type")) return [{ name, why: "type" }];
    return sameJson(directoryOf(form, was), directoryOf(form, is)) ? [] : [{ name, why: "directory" }];
  });
}

/** Undefined for keystores that are not a directory. */
function directoryOf(form: GroupField, keystore: Json): Json | undefined {
  const list = form.fields.find(({ name }) => name === "keystores");
  const item = list?.kind === "list" ? list.item : undefined;
  const field = item === undefined ? undefined : childField(item, keystore, "directory");
  return childOf(keystore, "directory") ?? field?.fallback;
}
