import type { DiskMapping } from "../disk-info/disk-info.js";
import type { EncryptionSpec } from "../encryption/luks-spec.js";
import { TRAIT_OF_FORMAT } from "../encryption/traits.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { LegacySettings } from "../settings/settings.js";
import { lvNameOf } from "../storage/lvm/lvm-name.js";
import type { Ask, EncryptionRequest } from "./ask.js";
import { novasVolumeName } from "./novas-mapping.js";

const SOURCE = "legacy.enabled";

/**
 * What the legacy settings say about a disk that nobody else speaks about: as Nova's [ephemeral_storage_encryption],
 * they are for logical volumes alone, whoever owns the guest. By its path only: whether LVM has it, its storage tells
 * (`withFittingLegacy`).
 */
export function legacyAsk({ enabled }: LegacySettings, { volume }: DiskMapping): Ask[] {
  if (!enabled || volume.kind !== "block") return [];
  if (lvNameOf(volume.path) === undefined && novasVolumeName(volume) === undefined) return [];
  return [{ source: SOURCE, enabled: true, format: "plain" }];
}

export function isLegacyAlone({ askedBy }: EncryptionRequest): boolean {
  return askedBy.every((source) => source === SOURCE);
}

/** @throws TRAIT_MISSING where plain dm-crypt is switched off */
export function legacySpec({ enabled, cipher, keySize, hash }: LegacySettings): EncryptionSpec {
  if (enabled) return { format: "plain", cipher, keySize, hash };
  throw new LuksmithError("TRAIT_MISSING", {
    what: `it needs ${TRAIT_OF_FORMAT.plain}, which this host does not offer`,
    why: "format plain is deprecated, and the settings do not switch it on",
    hint: "ask for format luks, or set legacy.enabled",
  });
}
