import type { DiskMapping } from "../disk-info/disk-info.js";
import type { AskVersions, ProviderName } from "../encryption/encryption-provider.js";
import type { EncryptionProviders, EngineChoice } from "../encryption/encryption-providers.js";
import type { EncryptionFormat } from "../encryption/luks-spec.js";
import { TRAIT_OF_FORMAT } from "../encryption/traits.js";
import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
import type { Guest } from "../host/host-adapter.js";
import type { EncryptionRequest } from "../request/ask.js";
import { namedFormat } from "../request/traits.js";
import type { LegacySettings } from "../settings/settings.js";
import { cannotStart } from "./cannot-start.js";
import type { Plan } from "./step.js";

export interface HostAbility {
  readonly providers: EncryptionProviders;
  readonly versions: AskVersions;
  readonly legacy: LegacySettings;
}

/** What is asked before a disk is protected. */
export interface NewDiskAbility extends HostAbility {
  /** Who decrypts a disk that is protected from now on. */
  readonly engine: EngineChoice;
}

type Requests = ReadonlyMap<string, EncryptionRequest>;

/**
 * Before any volume or keystore is asked: a disk that must be encrypted and is not must be one that this host can
 * encrypt, or the hint to protect it would lead nowhere; and a format that a voice names must be one that it offers.
 * What the configuration names already needs no question: no host manager is asked for its versions then.
 * @throws TRAIT_MISSING, VOLUME_UNSUPPORTED
 */
export async function refuseUnableRequests(
  guest: Guest,
  requests: Requests,
  ability: NewDiskAbility,
): Promise<void> {
  for (const disk of Object.values(guest.disks.mapping)) {
    const request = requests.get(disk.dev);
    if (request === undefined) continue;
    if (disk.encryption_secret_uuid === undefined) await providerForNew(guest, disk, request, ability);
    else await refuseUnmetFormat(guest, disk, ability);
  }
}

/** Who would decrypt a disk that is not encrypted yet. @throws TRAIT_MISSING, VOLUME_UNSUPPORTED */
export async function providerForNew(
  guest: Guest,
  { dev, volume }: DiskMapping,
  { format }: EncryptionRequest,
  { providers, versions, engine: choice }: NewDiskAbility,
): Promise<ProviderName> {
  try {
    return (await providers.choose({ volume, format, choice, versions })).name;
  } catch (thrown) {
    throw asLuksmithError(thrown).within(`disk ${dev} of guest ${guest.name} must be encrypted`);
  }
}

/**
 * A disk whose annotation has another format than a voice names is encrypted all the same, and starts where the named
 * one is offered; where it is not, no host of this kind was asked for. @throws TRAIT_MISSING
 */
export async function refuseUnmetFormat(
  guest: Guest,
  { dev, encryption_format: annotated }: DiskMapping,
  { providers, versions }: Pick<HostAbility, "providers" | "versions">,
): Promise<void> {
  const named = namedFormat(guest.asks, dev);
  if (named === undefined || named === annotated) return;
  const offered = await providers.traits(versions);
  if (offered.includes(TRAIT_OF_FORMAT[named])) return;
  throw new LuksmithError("TRAIT_MISSING", {
    what: `disk ${dev} of guest ${guest.name} is asked for as ${named}: it needs ${TRAIT_OF_FORMAT[named]}, which this host does not offer`,
    why: `it offers ${offered.join(", ") || "nothing"}`,
    hint: "see: luksmith capabilities, or start the guest on another host",
  });
}

/** As `refuseUnableMapping`, of every disk. @throws TRAIT_MISSING */
export async function refuseUnableMappings(guest: Guest, ability: HostAbility): Promise<void> {
  for (const disk of Object.values(guest.disks.mapping)) await refuseUnableMapping(guest, disk, ability);
}

/**
 * Before any volume or keystore is asked: a disk that the configuration gives to dm-crypt must be one that this host
 * can open now, whatever the settings prefer. @throws TRAIT_MISSING
 */
export async function refuseUnableMapping(
  guest: Guest,
  { dev, mapping, encryption_format: format }: DiskMapping,
  ability: HostAbility,
): Promise<void> {
  if (mapping === undefined || format === undefined) return;
  const task = `${cannotStart(guest)}: disk ${dev}`;
  if (format === "plain" && !ability.legacy.enabled) throw plainIsOff(task);
  await requireTrait("dm-crypt", format, task, ability);
}

/**
 * Before the first step: a new volume must not be formatted as what this host could not open afterwards. QEMU and
 * libvirt are asked for their versions here alone; a volume that was formatted before is QEMU's own matter.
 * @throws TRAIT_MISSING
 */
export async function refuseUnableFormats(guest: Guest, plan: Plan, ability: HostAbility): Promise<void> {
  for (const step of plan.stages.flat()) {
    if (step.kind !== "format") continue;
    const task = `${cannotStart(guest)}: disk ${step.disk}`;
    await requireTrait(step.provider ?? "native", step.record.encryption.format, task, ability);
  }
}

/** @param task what it is needed for, naming the disk. @throws TRAIT_MISSING */
export async function requireTrait(
  provider: ProviderName,
  format: EncryptionFormat,
  task: string,
  { providers, versions }: Pick<HostAbility, "providers" | "versions">,
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
