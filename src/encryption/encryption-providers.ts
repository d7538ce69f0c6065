import { LuksmithError } from "../error/luksmith-error.js";
import { isMappable, type Volume, volumeName } from "../storage/volume.js";
import type { AskVersions, EncryptionProvider, ProviderName } from "./encryption-provider.js";
import type { EncryptionFormat } from "./luks-spec.js";
import { type Trait, TRAIT_OF_FORMAT, traitsOf } from "./traits.js";

/** What the settings say about who decrypts. */
export type EngineChoice = "auto" | ProviderName;

export interface ProviderQuestion {
  readonly volume: Volume;
  readonly format: EncryptionFormat;
  readonly choice: EngineChoice;
  readonly versions: AskVersions;
}

/** Every encryption provider; the first that can is chosen where the settings leave it open. */
export class EncryptionProviders {
  constructor(private readonly providers: readonly EncryptionProvider[]) {}

  all(): readonly EncryptionProvider[] {
    return this.providers;
  }

  /** The one that opens a disk which is annotated for it. */
  get(name: ProviderName, format: EncryptionFormat): EncryptionProvider {
    const provider = this.providers.find((one) => one.name === name && one.formats.includes(format));
    if (provider !== undefined) return provider;
    throw new LuksmithError("TRAIT_MISSING", {
      what: `${name === "native" ? "QEMU itself" : "dm-crypt"} cannot open ${format} volumes`,
      why: `it needs ${TRAIT_OF_FORMAT[format]} by ${name}, which no host offers`,
      hint: "set encryption.engine to auto",
    });
  }

  /** What all of them together can do on this host now. */
  async traits(versions: AskVersions): Promise<readonly Trait[]> {
    const offered = await Promise.all(this.providers.map((provider) => provider.traits(versions)));
    return [...new Set(offered.flat())];
  }

  /** What one of them can do. */
  async traitsBy(name: ProviderName, versions: AskVersions): Promise<readonly Trait[]> {
    const ours = this.providers.filter((provider) => provider.name === name);
    return [...new Set((await Promise.all(ours.map((provider) => provider.traits(versions)))).flat())];
  }

  /**
   * Who shall decrypt a volume that is protected now.
   * @throws TRAIT_MISSING, naming the trait that this host lacks; VOLUME_UNSUPPORTED if the one that the settings
   *   choose cannot open such a volume
   */
  async choose({ volume, format, choice, versions }: ProviderQuestion): Promise<EncryptionProvider> {
    const candidates = this.providers.filter(
      ({ name, formats }) => formats.includes(format) && (choice === "auto" || choice === name),
    );
    const suitable = candidates.filter(({ name }) => name === "native" || isMappable(volume));
    if (candidates.length > 0 && suitable.length === 0) throw notMappable(volume, format);
    for (const provider of suitable) {
      if ((await provider.traits(versions)).includes(TRAIT_OF_FORMAT[format])) return provider;
    }
    const [host, offered] = await Promise.all([versions(), this.traits(versions)]);
    throw new LuksmithError("TRAIT_MISSING", {
      what: `cannot encrypt ${volumeName(volume)} as ${format}: it needs ${TRAIT_OF_FORMAT[format]}${choice === "auto" ? "" : ` by ${choice}`}, which this host does not offer`,
      why: `QEMU ${host.qemu}, libvirt ${host.libvirt ?? "none"}; it offers ${offered.join(", ") || "nothing"}`,
      hint: "see: luksmith capabilities",
    });
  }
}

function notMappable(volume: Volume, format: EncryptionFormat): LuksmithError {
  return new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `dm-crypt cannot open ${volumeName(volume)} as ${format}`,
    why: "it decrypts raw image files and block devices of this host, and nothing inside an image format or on a network",
    hint: "use a raw volume, or format luks with encryption.engine set to auto",
  });
}

/** The traits of the formats of a provider that works here. */
export function traitsIf(able: boolean, formats: readonly EncryptionFormat[]): readonly Trait[] {
  return able ? traitsOf(formats) : [];
}
