import type { DiskMapping } from "../disk-info/disk-info.js";
import type { LuksSpec } from "../encryption/luks-spec.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { Rule } from "../generated/settings.js";
import { printable } from "../guest-config/printable.js";
import type { Guest } from "../host/host-adapter.js";
import type { Ask, EncryptionRequest } from "./ask.js";
import { holdsGuestData } from "./guest-data.js";
import { ruleAsk } from "./rules.js";
import { offeredTraits, requiredTraits } from "./traits.js";

/** The part of the effective settings that decides about requests. */
export interface RequestSettings {
  readonly rules: readonly Rule[];
  readonly profiles: readonly RequestProfile[];
}

export interface RequestProfile extends LuksSpec {
  readonly name: string;
  /** Name of the keystore instance for new keys. */
  readonly keystore: string;
}

type AskingGuest = Pick<Guest, "name" | "disks" | "asks" | "tags">;

/** Holds where nobody asks for another profile. */
const DEFAULT_PROFILE = "default";

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
    const request = new DiskVoices(guest, disk, settings).request();
    if (request !== undefined) requests.set(disk.dev, request);
  }
  return requests;
}

/** All who speak about one disk. */
class DiskVoices {
  readonly #subject: string;
  readonly #disk: DiskMapping;
  readonly #settings: RequestSettings;
  readonly #voices: readonly Ask[];

  constructor(guest: AskingGuest, disk: DiskMapping, settings: RequestSettings) {
    this.#subject = `disk ${disk.dev} of guest ${printable(guest.name)}`;
    this.#disk = disk;
    this.#settings = settings;
    const asks = guest.asks.filter(({ disks }) => disks === undefined || disks.includes(disk.dev));
    this.#voices = [...asks, ruleAsk(settings.rules, guest, disk)].filter((ask) => ask !== undefined);
  }

  request(): EncryptionRequest | undefined {
    const askedBy = this.#voices.filter(({ enabled }) => enabled === true).map(({ source }) => source);
    if (askedBy.length === 0) return undefined;
    this.#agreed(({ enabled }) => (enabled === undefined ? undefined : enabled ? "yes" : "no"), "encryption");
    const format = this.#agreed((ask) => ask.format, "format");
    const profile = this.#profile(this.#agreed((ask) => ask.profile, "profile") ?? DEFAULT_PROFILE);
    if (format !== undefined && format !== profile.format) throw this.#traitMissing();
    const { cipher, keySize, hash, keystore } = profile;
    return {
      disk: this.#disk.dev,
      format: profile.format,
      cipher,
      keySize,
      hash,
      profile: profile.name,
      keystore,
      askedBy,
    };
  }

  /** What all who have a say about something say, undefined if nobody has. @throws REQUEST_CONFLICT */
  #agreed<Value extends string>(say: (ask: Ask) => Value | undefined, about: string): Value | undefined {
    const spoken = this.#voices.flatMap((ask) => {
      const value = say(ask);
      return value === undefined ? [] : [{ source: ask.source, value }];
    });
    const [first] = spoken;
    const other = spoken.find(({ value }) => value !== first?.value);
    if (first === undefined || other === undefined) return first?.value;
    throw new LuksmithError("REQUEST_CONFLICT", {
      what: `what is asked for ${this.#subject} contradicts itself`,
      why: [first, other]
        .map(({ source, value }) => `${source} says ${about} ${printable(value)}`)
        .join(", "),
      hint: "change one of them: no voice outvotes another",
    });
  }

  #profile(name: string): RequestProfile {
    const profile = this.#settings.profiles.find((known) => known.name === name);
    if (profile !== undefined) return profile;
    throw new LuksmithError("PROFILE_UNKNOWN", {
      what: `${this.#subject} is to be encrypted with profile "${printable(name)}", which the settings do not have`,
      why: `they have ${this.#settings.profiles.map((known) => known.name).join(", ")}`,
    });
  }

  #traitMissing(): LuksmithError {
    const offered = offeredTraits(this.#settings.profiles.map(({ format }) => format));
    const missing = requiredTraits(this.#voices).filter((trait) => !offered.includes(trait));
    const formats = this.#voices.filter(({ format }) => format !== undefined);
    return new LuksmithError("TRAIT_MISSING", {
      what: `${this.#subject} needs ${missing.join(", ")}, which this host does not offer`,
      why: `${formats.map(({ source, format }) => `${source} says format ${format ?? ""}`).join(", ")}; this host offers ${offered.join(", ")}`,
      hint: "ask for format luks, or start the guest on another host",
    });
  }
}
