import barbican from "../../../schemas/keystore/keystore-barbican.schema.json" with { type: "json" };
import file from "../../../schemas/keystore/keystore-file.schema.json" with { type: "json" };
import kmip from "../../../schemas/keystore/keystore-kmip.schema.json" with { type: "json" };
import tls from "../../../schemas/keystore/keystore-tls.schema.json" with { type: "json" };
import vault from "../../../schemas/keystore/keystore-vault.schema.json" with { type: "json" };
import credential from "../../../schemas/keystore/keystone-application-credential.schema.json" with { type: "json" };
import password from "../../../schemas/keystore/keystone-password.schema.json" with { type: "json" };
import keystoneToken from "../../../schemas/keystore/keystone-token.schema.json" with { type: "json" };
import fileProtector from "../../../schemas/keystore/protector-file.schema.json" with { type: "json" };
import pkcs11 from "../../../schemas/keystore/protector-pkcs11.schema.json" with { type: "json" };
import systemdCreds from "../../../schemas/keystore/protector-systemd-creds.schema.json" with { type: "json" };
import tang from "../../../schemas/keystore/protector-tang.schema.json" with { type: "json" };
import tpm2 from "../../../schemas/keystore/protector-tpm2.schema.json" with { type: "json" };
import appRole from "../../../schemas/keystore/vault-app-role.schema.json" with { type: "json" };
import vaultToken from "../../../schemas/keystore/vault-token.schema.json" with { type: "json" };
import settings from "../../../schemas/settings.schema.json" with { type: "json" };
import block from "../../../schemas/storage/storage-block.schema.json" with { type: "json" };
import lvmThin from "../../../schemas/storage/storage-lvm-thin.schema.json" with { type: "json" };
import lvm from "../../../schemas/storage/storage-lvm.schema.json" with { type: "json" };
import qcow2 from "../../../schemas/storage/storage-qcow2.schema.json" with { type: "json" };
import raw from "../../../schemas/storage/storage-raw.schema.json" with { type: "json" };
import rbd from "../../../schemas/storage/storage-rbd.schema.json" with { type: "json" };
import zfs from "../../../schemas/storage/storage-zfs.schema.json" with { type: "json" };
import type { Json } from "./json.js";

/** The part of JSON Schema that the settings are written in. */
export interface Schema {
  readonly $id?: string;
  readonly $ref?: string;
  readonly title?: string;
  readonly description?: string;
  readonly type?: string;
  readonly const?: Json;
  readonly enum?: readonly (string | number)[];
  readonly default?: Json;
  readonly examples?: readonly Json[];
  readonly writeOnly?: boolean;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly oneOf?: readonly Schema[];
  readonly discriminator?: { readonly propertyName: string };
  readonly definitions?: Readonly<Record<string, Schema>>;
}

const DOCUMENTS: readonly Schema[] = [
  ...[settings, barbican, file, kmip, vault, tls, credential, password, keystoneToken, appRole, vaultToken],
  ...[fileProtector, pkcs11, systemdCreds, tang, tpm2],
  ...[raw, qcow2, zfs, rbd, lvm, lvmThin, block],
];

export const SETTINGS_SCHEMA: Schema = settings;

/** The schema that `schema` refers to, with what it says itself beside `$ref` going before. */
export function resolve(schema: Schema): Schema {
  const { $ref, ...own } = schema;
  if ($ref === undefined) return schema;
  const [id, path] = $ref.split("#", 2);
  const document = id === "" ? SETTINGS_SCHEMA : DOCUMENTS.find(({ $id }) => $id === id);
  const name = /^\/definitions\/(\w+)$/.exec(path ?? "")?.[1];
  const target = name === undefined ? document : document?.definitions?.[name];
  if (target === undefined) throw new Error(`no schema ${$ref}`);
  return { ...resolve(target), ...own };
}
