import type { Json } from "./json.js";
import { type Pointer, tokensOf } from "./pointer.js";
import { namesOf } from "./usage.js";

/** Names that a text may have, being the name of something else in the settings. */
export interface Reference {
  readonly names: readonly string[];
  /** What holds while it names nothing. */
  readonly unset: string;
}

/** Undefined for a text that refers to nothing. */
export function referenceAt(settings: Json | undefined, pointer: Pointer): Reference | undefined {
  const [list, , property, ...rest] = tokensOf(pointer);
  if (rest.length > 0) return undefined;
  if (list === "profiles" && property === "keystore") {
    const names = namesOf(settings, "keystores");
    return { names, unset: `The first: ${names[0] ?? "none"}` };
  }
  if (list === "rules" && property === "profile") {
    return { names: namesOf(settings, "profiles"), unset: "Default: default" };
  }
  return undefined;
}
