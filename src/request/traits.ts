import type { EncryptionFormat } from "../encryption/luks-spec.js";
import type { Ask } from "./ask.js";

/** Nova's traits of a host that can encrypt local disks (os-traits, compute/ephemeral). */
const ENCRYPTION = "COMPUTE_EPHEMERAL_ENCRYPTION";
const TRAIT_OF_FORMAT = {
  plain: "COMPUTE_EPHEMERAL_ENCRYPTION_PLAIN",
  luks: "COMPUTE_EPHEMERAL_ENCRYPTION_LUKS",
  luksv2: "COMPUTE_EPHEMERAL_ENCRYPTION_LUKSV2",
} as const satisfies Record<EncryptionFormat, string>;

export type Trait = typeof ENCRYPTION | (typeof TRAIT_OF_FORMAT)[EncryptionFormat];

/**
 * What a host must offer for a guest of which these voices speak: nothing where none says yes; without a format
 * encryption as such; with one that format too.
 */
export function requiredTraits(asks: readonly Ask[]): readonly Trait[] {
  if (!asks.some(({ enabled }) => enabled === true)) return [];
  const formats = new Set(asks.flatMap(({ format }) => format ?? []));
  return [ENCRYPTION, ...[...formats].map((format) => TRAIT_OF_FORMAT[format])];
}

/** What a host offers that encrypts in these formats. */
export function offeredTraits(formats: readonly EncryptionFormat[]): readonly Trait[] {
  return formats.length === 0
    ? []
    : [ENCRYPTION, ...new Set(formats.map((format) => TRAIT_OF_FORMAT[format]))];
}
