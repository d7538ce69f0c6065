import { LuksmithError } from "../error/luksmith-error.js";
import type { FileKeystoreSettings } from "../generated/keystore-file.js";
import type { Settings } from "../generated/settings.js";
import { FileKeystore } from "./file/file-keystore.js";
import { Keyring } from "./keyring.js";
import type { Keystore } from "./keystore.js";

/** The settings of an instance of each keystore type, with the schema's defaults filled in. */
interface SettingsByType {
  file: Required<FileKeystoreSettings>;
}

/** Every keystore type; the compiler sees that these are the ones of the settings' schema. */
const FACTORIES: Factories = {
  file: (settings) => new FileKeystore(settings),
};

/** The words that a keystore's `type` in the settings can be. */
export const KEYSTORE_TYPES: readonly string[] = Object.keys(FACTORIES);

type Factories = { readonly [Type in SchemaType]: (settings: SettingsByType[Type]) => Keystore };
type SchemaType = NonNullable<Settings["keystores"]>[number]["type"];

export type KeystoreType = keyof SettingsByType;
export type KeystoreSettings = SettingsByType[KeystoreType];

export function createKeyring({ keystores }: { readonly keystores: readonly KeystoreSettings[] }): Keyring {
  return new Keyring(
    keystores.map((settings) => ({ name: settings.name, make: () => makeKeystore(settings) })),
  );
}

/** @throws KEYSTORE_UNKNOWN, naming the types there are */
function makeKeystore<Type extends KeystoreType>(
  settings: SettingsByType[Type] & { readonly type: Type },
): Keystore {
  if (Object.hasOwn(FACTORIES, settings.type)) return FACTORIES[settings.type](settings);
  throw new LuksmithError("KEYSTORE_UNKNOWN", {
    what: `keystore ${settings.name} has the unknown type ${settings.type}`,
    hint: `the types are: ${KEYSTORE_TYPES.join(", ")}`,
  });
}
