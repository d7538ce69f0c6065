import { mappingName } from "../encryption/dm-crypt/mapping-name.js";
import type { DiskMapping } from "../disk-info/disk-info.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { Guest, HostAdapter } from "../host/host-adapter.js";
import { type KeyUuid, newKeyUuid } from "../keystore/key-uuid.js";
import { annotationNow, annotationsOf } from "../plan/annotation.js";
import { cannotStart } from "../plan/cannot-start.js";
import type { DiskFacts } from "../plan/facts.js";
import { type FactSources, gatherFacts } from "../plan/gather.js";
import type { KeySession } from "../plan/key-session.js";
import type { AnnotatedKey, CopiedDisk } from "../plan/step.js";
import type { EncryptionRequest } from "../request/ask.js";
import { DEFAULT_PROFILE, type EffectiveSettings, profileNamed } from "../settings/settings.js";
import { isMappable } from "../storage/volume.js";
import type { Arrivals } from "./arrivals.js";
import { keyForCopy } from "./key-for-copy.js";
import { type ArrivingDisk, arrivingDisks } from "./arriving-disks.js";

export interface CopySources extends FactSources {
  readonly host: Pick<HostAdapter, "migration">;
  readonly arrivals: Arrivals;
}

/** A guest that comes, as it will be here. */
export interface WithCopies {
  readonly guest: Guest;
  readonly facts: readonly DiskFacts[];
  readonly copies: readonly CopiedDisk[];
}

export interface Asked {
  readonly requests: ReadonlyMap<string, EncryptionRequest>;
  readonly settings: Pick<EffectiveSettings, "profiles">;
}

/**
 * Gives a key of its own to each disk whose content is going to be copied to a volume of this host, and looks at the
 * guest as it then is. Where there is none, nothing but the facts was looked at. Changes nothing.
 * @throws why a disk cannot come here
 */
export async function withCopiedDisks(
  guest: Guest,
  facts: readonly DiskFacts[],
  { requests, settings }: Asked,
  sources: CopySources,
  session: KeySession,
): Promise<WithCopies> {
  const { migration } = sources.host;
  const disks = await arrivingDisks(guest, facts, { ...sources, secretUuids: () => migration.secretUuids() });
  const copies = disks.flatMap((arriving) => copyOf(guest, arriving));
  if (copies.length === 0) return { guest, facts, copies };
  const devs = copies.map(({ disk }) => disk);
  if (migration.isShutOff(guest, devs)) throw shutOff(guest, devs);
  const [from, to] = [copies.map((copy) => copy.from), copies.map((copy) => copy.to)];
  const here = {
    ...(await migration.annotated(guest, annotationsOf(to), annotationsOf(from))),
    arrives: true,
  } as const;
  const asked = new Map([...requests, ...copies.map((copy) => requestFor(here, copy, requests, settings))]);
  return { guest: here, facts: await gatherFacts(here, asked, sources, session), copies };
}

function copyOf(guest: Guest, arriving: ArrivingDisk): CopiedDisk[] {
  const { disk } = arriving.fact;
  const from = annotationNow(disk);
  const decision = keyForCopy(guest, arriving, newKeyUuid);
  if (decision.kind === "as-it-is" || from === undefined) return [];
  return [{ disk: disk.dev, from, to: annotationHere(disk, from, decision.uuid) }];
}

function shutOff(guest: Guest, disks: readonly string[]): LuksmithError {
  return new LuksmithError("STORAGE_NOT_COPIED", {
    what: `${cannotStart(guest)}: ${disks.length === 1 ? "disk" : "disks"} ${disks.join(", ")} would not have the guest's data there`,
    why: "the guest is shut off, and its definition comes alone",
    hint: "start it and migrate it live with --copy-storage-all, or bring its volumes and keys there first",
  });
}

/** Who decrypts stays who it is. */
function annotationHere({ dev, volume }: DiskMapping, from: AnnotatedKey, uuid: KeyUuid): AnnotatedKey {
  const { engine, mapping } = from;
  if (mapping === undefined || !isMappable(volume)) return { disk: dev, uuid, ...(engine && { engine }) };
  return { disk: dev, uuid, mapping: { ...mapping, name: mappingName(volume, uuid) } };
}

/** A disk that is encrypted at the source stays so, whether anybody asks for it here or not. */
function requestFor(
  { disks }: Guest,
  { disk }: CopiedDisk,
  requests: Asked["requests"],
  settings: Asked["settings"],
): [string, EncryptionRequest] {
  const asked = requests.get(disk);
  const { name: profile, keystore, ...spec } = profileNamed(settings, DEFAULT_PROFILE);
  // what was asked for as plain has no cipher for LUKS
  const base =
    asked === undefined || asked.format === "plain"
      ? { ...spec, disk, profile, keystore, askedBy: ["the migration"] }
      : asked;
  return [disk, { ...base, format: disks.mapping[disk]?.encryption_format ?? base.format }];
}
