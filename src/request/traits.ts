import { ENCRYPTION_TRAIT, type Trait, TRAIT_OF_FORMAT } from "../encryption/traits.js";
import type { Ask } from "./ask.js";

/**
 * What a host must offer for a guest of which these voices speak: nothing where none says yes; without a format
 * encryption as such; with one that format too.
 */
export function requiredTraits(asks: readonly Ask[]): readonly Trait[] {
  if (!asks.some(({ enabled }) => enabled === true)) return [];
  const formats = new Set(asks.flatMap(({ format }) => format ?? []));
  return [ENCRYPTION_TRAIT, ...[...formats].map((format) => TRAIT_OF_FORMAT[format])];
}
