import type { AskVersions, ProviderName } from "../encryption/encryption-provider.js";
import type { EncryptionProviders } from "../encryption/encryption-providers.js";
import type { EncryptionFormat } from "../encryption/luks-spec.js";
import { TRAIT_OF_FORMAT } from "../encryption/traits.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { Guest } from "../host/host-adapter.js";
import type { LegacySettings } from "../settings/settings.js";
import type { Plan } from "./step.js";

export interface HostAbility {
  readonly providers: EncryptionProviders;
  readonly versions: AskVersions;
  readonly legacy: LegacySettings;
}

/**
 * Before any volume or keystore is asked: every disk that the configuration gives to dm-crypt must be one that this
 * host can open now. @throws TRAIT_MISSING
 */
export async function refuseUnableMappings(guest: Guest, ability: HostAbility): Promise<void> {
  for (const { dev, mapping, encryption_format: format } of Object.values(guest.disks.mapping)) {
    if (mapping === undefined || format === undefined) continue;
    const task = `cannot start guest ${guest.name}: disk ${dev}`;
    if (format === "plain" && !ability.legacy.enabled) throw plainIsOff(task);
    await requireTrait("dm-crypt", format, task, ability);
  }
}

/**
 * Before the first step: a new volume must not be formatted as what this host could not open afterwards. QEMU and
 * libvirt are asked for their versions here alone; a volume that was formatted before is QEMU's own matter.
 * @throws TRAIT_MISSING
 */
export async function refuseUnableFormats(guest: Guest, plan: Plan, ability: HostAbility): Promise<void> {
  for (const step of plan.stages.flat()) {
    if (step.kind !== "format") continue;
    const task = `cannot start guest ${guest.name}: disk ${step.disk}`;
    await requireTrait(step.provider ?? "native", step.record.encryption.format, task, ability);
  }
}

async function requireTrait(
  provider: ProviderName,
  format: EncryptionFormat,
  task: string,
  { providers, versions }: HostAbility,
): Promise<void> {
  const offered = await providers.traitsBy(provider, versions);
  const needed = TRAIT_OF_FORMAT[format];
  if (offered.includes(needed)) return;
  const engine = provider === "native" ? "QEMU itself" : "dm-crypt";
  throw new LuksmithError("TRAIT_MISSING", {
    what: `${task} needs ${needed} by ${engine}, which this host does not offer`,
    why: `${engine} offers ${offered.join(", ") || "nothing here"}`,
    hint: "see: luksmith capabilities, or start the guest on another host",
  });
}

function plainIsOff(task: string): LuksmithError {
  return new LuksmithError("TRAIT_MISSING", {
    what: `${task} needs ${TRAIT_OF_FORMAT.plain}, which this host does not offer`,
    why: "plain dm-crypt is deprecated, and the settings do not switch it on",
    hint: "convert the disk to LUKS with luksmith convert, or set legacy.enabled",
  });
}
