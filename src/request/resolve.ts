import type { DiskMapping } from "../disk-info/disk-info.js";
import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
import { printable } from "../error/printable.js";
import type { Guest } from "../host/host-adapter.js";
import { DEFAULT_PROFILE, type EffectiveSettings, profileNamed } from "../settings/settings.js";
import type { Ask, EncryptionRequest } from "./ask.js";
import { holdsGuestData } from "./guest-data.js";
import { ruleAsk } from "./rules.js";
import { offeredTraits, requiredTraits } from "./traits.js";

/** The part of the settings that decides about requests. */
export type RequestSettings = Pick<EffectiveSettings, "rules" | "profiles">;

type AskingGuest = Pick<Guest, "name" | "disks" | "asks" | "tags">;

/**
 * Which of the guest's disks must be encrypted, and how, by device name; a disk that nobody asks for is not in it.
 * Voices in the order of rank: flavor, image, the guest's metadata, the operator's rules. They must agree: nobody
 * outvotes another. A format or profile without a yes asks for nothing. Pure, no I/O.
 * @throws REQUEST_CONFLICT, REQUEST_INVALID, PROFILE_UNKNOWN, TRAIT_MISSING
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
  const asks = guest.asks.filter(({ disks }) => disks === undefined || disks.includes(disk.dev));
  const voices = [...asks, ruleAsk(settings.rules, guest, disk)].filter((ask) => ask !== undefined);
  const askedBy = voices.filter(({ enabled }) => enabled === true).map(({ source }) => source);
  if (askedBy.length === 0) return undefined;
  try {
    agreed(voices, "encryption", ({ enabled }) =>
      enabled === undefined ? undefined : enabled ? "yes" : "no",
    );
    const format = agreed(voices, "format", (ask) => ask.format);
    const profile = profileNamed(
      settings,
      agreed(voices, "profile", (ask) => ask.profile) ?? DEFAULT_PROFILE,
    );
    if (format !== undefined && format !== profile.format) throw traitMissing(voices, settings);
    const { name, cipher, keySize, hash, keystore } = profile;
    return {
      disk: disk.dev,
      format: profile.format,
      cipher,
      keySize,
      hash,
      profile: name,
      keystore,
      askedBy,
    };
  } catch (thrown) {
    throw asLuksmithError(thrown).within(`disk ${disk.dev} of guest ${printable(guest.name)}`);
  }
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

function traitMissing(voices: readonly Ask[], { profiles }: RequestSettings): LuksmithError {
  const offered = offeredTraits(profiles.map(({ format }) => format));
  const missing = requiredTraits(voices).filter((trait) => !offered.includes(trait));
  const formats = voices.flatMap(({ source, format }) =>
    format === undefined ? [] : `${source} says ${format}`,
  );
  return new LuksmithError("TRAIT_MISSING", {
    what: `it needs ${missing.join(", ")}, which this host does not offer`,
    why: `${formats.join(", ")}; this host offers ${offered.join(", ")}`,
    hint: "ask for format luks, or start the guest on another host",
  });
}
