import type { EncryptionFormat } from "./luks-spec.js";

/** Nova's trait of a host that can encrypt local disks (os-traits, compute/ephemeral). */
export const ENCRYPTION_TRAIT = "COMPUTE_EPHEMERAL_ENCRYPTION";

/** Those of the formats that it can. */
export const TRAIT_OF_FORMAT = {
  plain: "COMPUTE_EPHEMERAL_ENCRYPTION_PLAIN",
  luks: "COMPUTE_EPHEMERAL_ENCRYPTION_LUKS",
  luksv2: "COMPUTE_EPHEMERAL_ENCRYPTION_LUKSV2",
} as const satisfies Record<EncryptionFormat, string>;

/** What a host can promise, in the words of OpenStack's os-traits. */
export type Trait = typeof ENCRYPTION_TRAIT | (typeof TRAIT_OF_FORMAT)[EncryptionFormat];

/** What a host offers that encrypts in these formats: none without a format. */
export function traitsOf(formats: readonly EncryptionFormat[]): readonly Trait[] {
  if (formats.length === 0) return [];
  return [ENCRYPTION_TRAIT, ...new Set(formats.map((format) => TRAIT_OF_FORMAT[format]))];
}
