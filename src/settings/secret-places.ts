import type { BarbicanKeystoreSettings } from "../generated/keystore-barbican.js";
import type { FileKeystoreSettings } from "../generated/keystore-file.js";
import type { Settings } from "../generated/settings.js";
import type { VaultKeystoreSettings } from "../generated/keystore-vault.js";
import { isObject } from "./json-object.js";
import { within } from "./json-pointer.js";

/** An object of the settings that a secret belongs to. */
export interface SecretPlace {
  /** JSON Pointer of the object. */
  readonly pointer: string;
  readonly object: Record<string, unknown>;
  /** What the secret is called where it is given. */
  readonly property: SecretName;
  /** What names the file that it is kept in. */
  readonly fileProperty: `${SecretName}File`;
  /** What it is for: the keystore's name, or `cache`. */
  readonly owner: string;
}

export type SecretName = "password" | "secret" | "token" | "secretId" | "pin";

export const SECRET_NAMES: readonly SecretName[] = ["password", "secret", "token", "secretId", "pin"];

/** By the tag of the object; a test compares it with what the schema calls writeOnly. */
const OF_KEYSTORE: Partial<Record<Keystore["type"], SecretName>> = { kmip: "password" };
const OF_KEYSTONE: Partial<Record<KeystoneMethod, SecretName>> = {
  password: "password",
  "application-credential": "secret",
};
const OF_AUTH: Partial<Record<VaultKeystoreSettings["auth"]["method"], SecretName>> = {
  approle: "secretId",
  token: "token",
};
const OF_PROTECTOR: Partial<Record<ProtectorType, SecretName>> = { pkcs11: "pin" };

type Keystore = NonNullable<Settings["keystores"]>[number];
type KeystoneMethod = NonNullable<BarbicanKeystoreSettings["keystone"]>["method"];
type ProtectorType = NonNullable<FileKeystoreSettings["protector"]>["type"];

/** Every object that may have a secret, whether it has one or not. Takes settings that the schema refuses as well. */
export function secretPlacesIn(settings: unknown): SecretPlace[] {
  if (!isObject(settings)) return [];
  const { keystores, cache } = settings;
  return [
    ...(Array.isArray(keystores) ? keystores.flatMap(placesOfKeystore) : []),
    ...placesOfProtector(cache, "/cache", "cache"),
  ];
}

function placesOfKeystore(keystore: unknown, index: number): SecretPlace[] {
  if (!isObject(keystore)) return [];
  const pointer = within("/keystores", index);
  const owner = typeof keystore["name"] === "string" ? keystore["name"] : "";
  return [
    ...placeOf(keystore, { pointer, owner, tag: "type", names: OF_KEYSTORE }),
    ...placeOf(keystore["keystone"], {
      ...{ pointer: within(pointer, "keystone"), owner },
      ...{ tag: "method", names: OF_KEYSTONE },
    }),
    ...placeOf(keystore["auth"], {
      ...{ pointer: within(pointer, "auth"), owner },
      ...{ tag: "method", names: OF_AUTH },
    }),
    ...placesOfProtector(keystore, pointer, owner),
  ];
}

function placesOfProtector(holder: unknown, pointer: string, owner: string): SecretPlace[] {
  if (!isObject(holder)) return [];
  const place = { pointer: within(pointer, "protector"), owner, tag: "type", names: OF_PROTECTOR };
  return placeOf(holder["protector"], place);
}

interface Kind extends Pick<SecretPlace, "pointer" | "owner"> {
  readonly tag: string;
  readonly names: Readonly<Partial<Record<string, SecretName>>>;
}

function placeOf(object: unknown, { pointer, owner, tag, names }: Kind): SecretPlace[] {
  if (!isObject(object)) return [];
  const kind = object[tag];
  if (typeof kind !== "string" || !Object.hasOwn(names, kind)) return [];
  const property = names[kind];
  return property === undefined
    ? []
    : [{ pointer, object, property, fileProperty: `${property}File`, owner }];
}
