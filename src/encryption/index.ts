import type { CommandRunner } from "../exec/command-runner.js";
import { DmCryptLuks } from "./dm-crypt/dm-crypt-luks.js";
import { DmCryptMappings } from "./dm-crypt/dm-crypt-mappings.js";
import { DmCryptPlain } from "./dm-crypt/dm-crypt-plain.js";
import type { Mappings } from "./encryption-provider.js";
import { EncryptionProviders } from "./encryption-providers.js";
import { NativeLuks } from "./native-luks.js";

/** Every encryption provider, in the order in which they are preferred. */
export function createProviders(runner: CommandRunner): EncryptionProviders {
  return new EncryptionProviders([new NativeLuks(), new DmCryptLuks(runner), new DmCryptPlain(runner)]);
}

/** @param directory is the same for all processes of the host, and empty after it has restarted */
export function createMappings(runner: CommandRunner, directory = "/run/luksmith/mappings"): Mappings {
  return new DmCryptMappings(runner, directory);
}
