import type { CommandRunner } from "../exec/command-runner.js";
import type { LegacySettings } from "../settings/settings.js";
import { DmCryptLuks } from "./dm-crypt/dm-crypt-luks.js";
import { DmCryptMappings, type MappingPlaces } from "./dm-crypt/dm-crypt-mappings.js";
import { DmCryptPlain } from "./dm-crypt/dm-crypt-plain.js";
import type { Mappings } from "./encryption-provider.js";
import { EncryptionProviders } from "./encryption-providers.js";
import { NativeLuks } from "./native-luks.js";

export const MAPPING_PLACES: MappingPlaces = { claims: "/run/luksmith/mappings" };

/** Every encryption provider, in the order in which they are preferred. */
export function createProviders(runner: CommandRunner, legacy: LegacySettings): EncryptionProviders {
  return new EncryptionProviders([
    new NativeLuks(),
    new DmCryptLuks(runner),
    new DmCryptPlain(runner, legacy),
  ]);
}

export function createMappings(runner: CommandRunner, places = MAPPING_PLACES): Mappings {
  return new DmCryptMappings(runner, places);
}
