import { LuksmithError } from "../error/luksmith-error.js";
import type { CommandRunner } from "../exec/command-runner.js";
import type { BarbicanKeystoreSettings } from "../generated/keystore-barbican.js";
import type { FileKeystoreSettings } from "../generated/keystore-file.js";
import type { KmipKeystoreSettings } from "../generated/keystore-kmip.js";
import type { VaultKeystoreSettings } from "../generated/keystore-vault.js";
import type { Settings } from "../generated/settings.js";
import type { Secret } from "../secret/secret.js";
import type { KeyCache } from "./cache/key-cache.js";
import { FileKeystore } from "./file/file-keystore.js";
import { Keyring } from "./keyring.js";
import type { Keystore } from "./keystore.js";

/** The settings of an instance of each keystore type, with the schema's defaults filled in. */
interface SettingsByType {
  file: Required<FileKeystoreSettings>;
  barbican: Filled<BarbicanKeystoreSettings, "tls" | "timeout">;
  kmip: Filled<KmipKeystoreSettings, "port" | "version" | "object" | "group" | "timeout">;
  vault: Filled<VaultKeystoreSettings, "mount" | "prefix" | "tls" | "timeout">;
}

type Filled<T, Defaults extends keyof T> = T & Required<Pick<T, Defaults>>;

/** What keystores are made with besides their settings. */
export interface KeystoreResources {
  readonly runner: CommandRunner;
  /** The token that a user has handed over for this one command; stays the caller's. */
  readonly token?: Secret;
}

/**
 * Every keystore type; the compiler sees that these are the ones of the settings' schema. Those that most hosts do not
 * use are loaded when the settings name them.
 */
const FACTORIES: Factories = {
  file: (settings, { runner }) => new FileKeystore(settings, runner),
  barbican: async (settings, resources) => {
    const { BarbicanKeystore } = await import("./barbican/barbican-keystore.js");
    return new BarbicanKeystore(settings, resources);
  },
  kmip: async (settings) => {
    const { KmipKeystore } = await import("./kmip/kmip-keystore.js");
    return new KmipKeystore(settings);
  },
  vault: async (settings) => {
    const { VaultKeystore } = await import("./vault/vault-keystore.js");
    return new VaultKeystore(settings);
  },
};

/** The words that a keystore's `type` in the settings can be. */
export const KEYSTORE_TYPES: readonly string[] = Object.keys(FACTORIES);

type Factories = {
  readonly [Type in SchemaType]: (
    settings: SettingsByType[Type],
    resources: KeystoreResources,
  ) => Keystore | Promise<Keystore>;
};
type SchemaType = NonNullable<Settings["keystores"]>[number]["type"];

export type KeystoreType = keyof SettingsByType;
export type SettingsOf<Type extends KeystoreType> = SettingsByType[Type];
export type KeystoreSettings = SettingsOf<KeystoreType>;

export function createKeyring(
  { keystores }: { readonly keystores: readonly KeystoreSettings[] },
  resources: KeystoreResources,
  cache?: () => Promise<KeyCache>,
): Keyring {
  return new Keyring(
    keystores.map((settings) => ({ name: settings.name, make: () => makeKeystore(settings, resources) })),
    cache,
  );
}

/** @throws KEYSTORE_UNKNOWN, naming the types there are */
async function makeKeystore<Type extends KeystoreType>(
  settings: SettingsByType[Type] & { readonly type: Type },
  resources: KeystoreResources,
): Promise<Keystore> {
  if (Object.hasOwn(FACTORIES, settings.type)) return FACTORIES[settings.type](settings, resources);
  throw new LuksmithError("KEYSTORE_UNKNOWN", {
    what: `keystore ${settings.name} has the unknown type ${settings.type}`,
    hint: `the types are: ${KEYSTORE_TYPES.join(", ")}`,
  });
}
