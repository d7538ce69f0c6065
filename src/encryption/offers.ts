import type { StorageBackend } from "../storage/storage-backend.js";
import type { AskVersions, ProviderName } from "./encryption-provider.js";
import type { EncryptionProviders, EngineChoice } from "./encryption-providers.js";
import type { EncryptionFormat } from "./luks-spec.js";
import { type Trait, TRAIT_OF_FORMAT, traitsOf } from "./traits.js";

/** One way of encrypting new disks, and whether this host can go it now. */
export interface Offer {
  readonly provider: ProviderName;
  readonly format: EncryptionFormat;
  readonly trait: Trait;
  readonly offered: boolean;
  /** Why it is not offered, a clause each. */
  readonly reasons: readonly string[];
}

/** What the settings have to say about it. */
export interface OfferSettings {
  readonly encryption: { readonly engine: EngineChoice };
  readonly legacy: { readonly enabled: boolean };
}

/** Every provider's formats, in the order of preference; what the settings forbid or narrow is not offered. */
export async function offersOf(
  providers: EncryptionProviders,
  versions: AskVersions,
  settings: OfferSettings,
): Promise<readonly Offer[]> {
  const offers = providers.all().map(async (provider): Promise<Offer[]> => {
    const able = await provider.traits(versions);
    const obstacles = (await provider.obstacles?.(versions)) ?? [];
    return provider.formats.map((format) => {
      const trait = TRAIT_OF_FORMAT[format];
      const ruledOut = forbidden(provider.name, format, settings);
      const offered = able.includes(trait) && ruledOut.length === 0;
      const reasons = offered ? [] : [...obstacles, ...ruledOut];
      return { provider: provider.name, format, trait, offered, reasons };
    });
  });
  return (await Promise.all(offers)).flat();
}

/** The traits of those offers that hold for volumes of this storage. */
export function traitsOn(
  backend: Pick<StorageBackend, "formats">,
  offers: readonly Offer[],
): readonly Trait[] {
  const able = offers.filter(
    ({ provider, format, offered }) =>
      offered && backend.formats.includes(format) && (provider === "native" || isMappedStorage(backend)),
  );
  return traitsOf(able.map(({ format }) => format));
}

/** QEMU itself opens LUKS version 1 alone: storage that carries another format carries it for the kernel. */
function isMappedStorage({ formats }: Pick<StorageBackend, "formats">): boolean {
  return formats.some((format) => format !== "luks");
}

function forbidden(
  provider: ProviderName,
  format: EncryptionFormat,
  { encryption: { engine }, legacy }: OfferSettings,
): string[] {
  return [
    ...(engine === "auto" || engine === provider ? [] : [`the settings say encryption.engine ${engine}`]),
    ...(format === "plain" && !legacy.enabled ? ["the settings do not switch it on (legacy.enabled)"] : []),
  ];
}
