import { isLuks, type LuksSpec } from "../../../encryption/luks-spec.js";
import { LuksmithError } from "../../../error/luksmith-error.js";
import type { ProxmoxStorage } from "../../../generated/proxmox-storage.js";
import {
  DEFAULT_PROFILE,
  type EffectiveProfile,
  type EffectiveSettings,
  profileNamed,
} from "../../../settings/settings.js";

/**
 * The profile of a storage's new volumes, which QEMU must be able to open itself.
 * @throws PROFILE_UNKNOWN, VOLUME_UNSUPPORTED
 */
export function profileOf(
  { id, profile: wanted = DEFAULT_PROFILE }: Pick<ProxmoxStorage, "id" | "profile">,
  settings: Pick<EffectiveSettings, "profiles">,
): { readonly profile: EffectiveProfile; readonly spec: LuksSpec } {
  const profile = profileNamed(settings, wanted);
  const { name, format, cipher, keySize, hash } = profile;
  const spec = { format, cipher, keySize, hash };
  if (isLuks(spec) && spec.format === "luks") return { profile, spec };
  throw new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `cannot make volumes of profile ${name} on storage ${id}`,
    why: `its format is ${format}, and QEMU opens only luks itself`,
    hint: `give the storage another profile: pvesm set ${id} --encryption-profile NAME`,
  });
}
