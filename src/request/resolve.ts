import type { DiskMapping } from "../disk-info/disk-info.js";
import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
import { printable } from "../error/printable.js";
import type { Guest } from "../host/host-adapter.js";
import {
  DEFAULT_PROFILE,
  type EffectiveProfile,
  type EffectiveSettings,
  profileNamed,
} from "../settings/settings.js";
import type { Ask, EncryptionRequest } from "./ask.js";
import { holdsGuestData } from "./guest-data.js";
import { ruleAsk } from "./rules.js";
import type { EncryptionFormat, EncryptionSpec } from "../encryption/luks-spec.js";
import { legacyAsk, legacySpec } from "./legacy.js";

/** The part of the settings that decides about requests. */
export type RequestSettings = Pick<EffectiveSettings, "rules" | "profiles" | "legacy">;

type AskingGuest = Pick<Guest, "name" | "disks" | "asks" | "tags">;

/**
 * Which of the guest's disks must be encrypted, and how, by device name; a disk that nobody asks for is not in it.
 * Voices in the order of rank: flavor, image, the guest's metadata, the operator's rules. They must agree: nobody
 * outvotes another. A format or profile without a yes asks for nothing. Pure, no I/O.
 * @throws REQUEST_CONFLICT, REQUEST_INVALID, PROFILE_UNKNOWN, TRAIT_MISSING (plain, which is switched off)
 */
export function resolveRequests(
  guest: AskingGuest,
  settings: RequestSettings,
): ReadonlyMap<string, EncryptionRequest> {
  const problem = guest.asks.find((ask) => ask.problem !== undefined)?.problem;
  if (problem !== undefined) throw problem.within(`guest ${printable(guest.name)}`);
  const requests = new Map<string, EncryptionRequest>();
  for (const disk of Object.values(guest.disks.mapping).filter(holdsGuestData)) {
    const request = requestFor(guest, disk, settings);
    if (request !== undefined) requests.set(disk.dev, request);
  }
  return requests;
}

function requestFor(
  guest: AskingGuest,
  disk: DiskMapping,
  settings: RequestSettings,
): EncryptionRequest | undefined {
  const voices = voicesFor(guest, disk, settings);
  const askedBy = voices.filter(({ enabled }) => enabled === true).map(({ source }) => source);
  if (askedBy.length === 0) return undefined;
  try {
    agreed(voices, "encryption", ({ enabled }) =>
      enabled === undefined ? undefined : enabled ? "yes" : "no",
    );
    const format = agreed(voices, "format", (ask) => ask.format);
    const named = agreed(voices, "profile", (ask) => ask.profile);
    const profile = profileNamed(settings, named ?? DEFAULT_PROFILE);
    if (format !== undefined && named !== undefined && format !== profile.format)
      throw formatsDiffer(voices, profile);
    const { name, keystore } = profile;
    const spec = format === "plain" ? legacySpec(settings.legacy) : specOf(profile, format);
    return { disk: disk.dev, ...spec, profile: name, keystore, askedBy };
  } catch (thrown) {
    throw asLuksmithError(thrown).within(`disk ${disk.dev} of guest ${printable(guest.name)}`);
  }
}

/** Who says something about a disk, in the order of rank; the legacy settings where nobody else does. */
export function voicesFor(guest: AskingGuest, disk: DiskMapping, settings: RequestSettings): readonly Ask[] {
  const asks = guest.asks.filter(({ disks }) => disks === undefined || disks.includes(disk.dev));
  const spoken = [...asks, ruleAsk(settings.rules, guest, disk)].filter((ask) => ask !== undefined);
  const voices = spoken.filter(saysSomething);
  return voices.length > 0 ? voices : legacyAsk(settings.legacy, disk);
}

/** Whoever only carries tags for the rules leaves it all to others. */
function saysSomething({ enabled, format, profile }: Ask): boolean {
  return enabled !== undefined || format !== undefined || profile !== undefined;
}

/** What all who have a say about something say, undefined if nobody has. @throws REQUEST_CONFLICT */
function agreed<Value extends string>(
  voices: readonly Ask[],
  about: string,
  say: (ask: Ask) => Value | undefined,
): Value | undefined {
  const spoken = voices.flatMap((ask) => {
    const value = say(ask);
    return value === undefined ? [] : [{ source: ask.source, value }];
  });
  const [first] = spoken;
  const other = spoken.find(({ value }) => value !== first?.value);
  if (first === undefined || other === undefined) return first?.value;
  throw new LuksmithError("REQUEST_CONFLICT", {
    what: `those who ask do not agree about ${about}`,
    why: `${first.source} says ${first.value}, ${other.source} says ${other.value}`,
    hint: "change one of them: no voice outvotes another",
  });
}

/** As the profile has it, in the format that is asked for where one is. */
function specOf(
  { format, cipher, keySize, hash }: EffectiveProfile,
  asked: EncryptionFormat | undefined,
): EncryptionSpec {
  return { format: asked ?? format, cipher, keySize, hash };
}

/** Who names a profile has named its format as well. */
function formatsDiffer(voices: readonly Ask[], { name, format }: EffectiveProfile): LuksmithError {
  const asked = voices.find((voice) => voice.format !== undefined && voice.format !== format);
  return new LuksmithError("REQUEST_CONFLICT", {
    what: "those who ask do not agree about format",
    why: `profile ${name} says ${format}, ${asked?.source ?? "another"} says ${asked?.format ?? "otherwise"}`,
    hint: "change one of them: no voice outvotes another",
  });
}
