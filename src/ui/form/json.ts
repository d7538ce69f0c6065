import { isObject, type Json, type JsonObject } from "../../settings/json-object.js";

export { isObject, type Json, type JsonObject };

export function isList(value: unknown): value is readonly Json[] {
  return Array.isArray(value);
}

/** The text that `value` has as `name`; undefined for everything else. */
export function textIn(value: Json | undefined, name: string): string | undefined {
  const member = isObject(value) ? value[name] : undefined;
  return typeof member === "string" ? member : undefined;
}

/** Whether both say the same; the order of an object's members says nothing. */
export function sameJson(one: Json | undefined, other: Json | undefined): boolean {
  if (one === other) return true;
  if (isList(one) && isList(other)) {
    return one.length === other.length && one.every((item, index) => sameJson(item, other[index]));
  }
  if (!isObject(one) || !isObject(other)) return false;
  const names = Object.keys(one);
  return (
    names.length === Object.keys(other).length &&
    names.every((name) => Object.hasOwn(other, name) && sameJson(one[name], other[name]))
  );
}
