import { tokensOf, within } from "../../settings/json-pointer.js";
import { isList, isObject, type Json } from "./json.js";

/** JSON Pointer (RFC 6901) into the settings: `/keystores/1/auth/roleId`; empty for them as a whole. */
export type Pointer = string;

export { tokensOf, within };

export function pointerOf(tokens: readonly string[]): Pointer {
  return tokens.reduce(within, "");
}

/** Whether `pointer` is `ancestor` or points into it. */
export function isWithin(pointer: Pointer, ancestor: Pointer): boolean {
  return pointer === ancestor || pointer.startsWith(`${ancestor}/`);
}

/** The pointer of what has what `pointer` points to; undefined for the whole. */
export function parentOf(pointer: Pointer): Pointer | undefined {
  const end = pointer.lastIndexOf("/");
  return end === -1 ? undefined : pointer.slice(0, end);
}

/** Undefined where there is nothing. */
export function getAt(value: Json | undefined, pointer: Pointer): Json | undefined {
  return tokensOf(pointer).reduce<Json | undefined>(childOf, value);
}

/**
 * A copy with `replacement` there, sharing all else with `value`. Undefined takes the member of an object away, and
 * the item out of a list. Objects that are missing on the way are made; items are never made beyond a list's end.
 */
export function setAt(
  value: Json | undefined,
  pointer: Pointer,
  replacement: Json | undefined,
): Json | undefined {
  return replace(value, tokensOf(pointer), replacement);
}

export function childOf(value: Json | undefined, token: string): Json | undefined {
  if (isList(value)) return INDEX.test(token) ? value[Number(token)] : undefined;
  return isObject(value) && Object.hasOwn(value, token) ? value[token] : undefined;
}

const INDEX = /^(0|[1-9][0-9]*)$/;

function replace(
  value: Json | undefined,
  [token, ...rest]: readonly string[],
  replacement: Json | undefined,
): Json | undefined {
  if (token === undefined) return replacement;
  const child = replace(childOf(value, token), rest, replacement);
  return isList(value)
    ? withItem(value, token, child)
    : withMember(isObject(value) ? value : {}, token, child);
}

function withItem(list: readonly Json[], token: string, item: Json | undefined): readonly Json[] {
  const index = Number(token);
  if (!INDEX.test(token) || index > list.length) return list;
  return item === undefined ? list.toSpliced(index, 1) : list.toSpliced(index, 1, item);
}

function withMember(object: Readonly<Record<string, Json>>, name: string, member: Json | undefined): Json {
  // defined, not assigned: __proto__ is a name like any other
  const entries = Object.entries(object).filter(([key]) => key !== name || member !== undefined);
  const place = entries.findIndex(([key]) => key === name);
  if (member === undefined) return Object.fromEntries(entries);
  const entry: [string, Json] = [name, member];
  return Object.fromEntries(place === -1 ? [...entries, entry] : entries.with(place, entry));
}
