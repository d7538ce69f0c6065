import { isObject } from "./json-object.js";

/** Strings of JSON, with the colon after those that are names. */
const STRINGS = /"(?:[^"\\]|\\.)*"(?<colon>[ \t\n\r]*:)?/g;

/**
 * Whether an object in `text`, which is JSON, has a name twice: JSON.parse, which made `value` of it, keeps the last one
 * and says nothing of what it has dropped.
 */
export function hasRepeatedNames(text: string, value: unknown): boolean {
  const written = [...text.matchAll(STRINGS)].filter(({ groups }) => groups?.["colon"] !== undefined);
  return written.length !== countNames(value);
}

function countNames(value: unknown): number {
  const names = isObject(value) ? Object.keys(value).length : 0;
  const inside = typeof value === "object" && value !== null ? Object.values(value) : [];
  return inside.reduce<number>((count, one) => count + countNames(one), names);
}
