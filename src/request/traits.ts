import type { EncryptionFormat } from "../encryption/luks-spec.js";
import { ENCRYPTION_TRAIT, type Trait, TRAIT_OF_FORMAT } from "../encryption/traits.js";
import type { Ask } from "./ask.js";

/**
 * What any host must offer for a guest of which these voices speak: nothing where none says yes; encryption as such
 * without a format; with one that format too. Which format a host takes where nobody names one is its own matter.
 */
export function requiredTraits(asks: readonly Ask[]): readonly Trait[] {
  const yes = asks.filter(({ enabled }) => enabled === true);
  if (yes.length === 0) return [];
  const named = asks.filter((ask) => yes.some((one) => speakOfOneDisk(ask, one)));
  const formats = new Set(named.flatMap(({ format }) => format ?? []));
  return [ENCRYPTION_TRAIT, ...[...formats].map((format) => TRAIT_OF_FORMAT[format])];
}

/** The format that voices name for a disk; they agree, or `resolveRequests` has refused. */
export function namedFormat(asks: readonly Ask[], dev: string): EncryptionFormat | undefined {
  return asks.find(({ format, disks }) => format !== undefined && (disks?.includes(dev) ?? true))?.format;
}

function speakOfOneDisk({ disks }: Ask, { disks: others }: Ask): boolean {
  return disks === undefined || others === undefined || disks.some((dev) => others.includes(dev));
}
