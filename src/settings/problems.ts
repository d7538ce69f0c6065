import type { ErrorObject } from "ajv";
import type { BarbicanKeystoreSettings } from "../generated/keystore-barbican.js";
import type { FileKeystoreSettings } from "../generated/keystore-file.js";
import type { VaultKeystoreSettings } from "../generated/keystore-vault.js";
import type { Settings } from "../generated/settings.js";
import { readablePath, tokensOf, within } from "./json-pointer.js";
import { sentenceOf } from "./sentences.js";

/** One thing that is wrong in the settings. Pages say it at the field, so that nothing here may need Node. */
export interface Problem {
  /** Its place, a JSON Pointer (RFC 6901); empty for the settings as a whole. */
  readonly pointer: string;
  /** The same for people: `profiles[0].cipher`, or the place in the text. */
  readonly path: string;
  /** What is wrong with it: `must be one of …`. */
  readonly sentence: string;
}

export function problemAt(pointer: string, sentence: string): Problem {
  return { pointer, path: readablePath(pointer), sentence };
}

/** The validator's error in words that an administrator reads. Never quotes a value, which may be a secret. */
export function problemsOf(error: ErrorObject): Problem[] {
  const pointer = error.instancePath;
  const params = error.params as Readonly<Record<string, unknown>>;
  switch (error.keyword) {
    case "required":
      return [problemAt(within(pointer, String(params["missingProperty"])), MISSING)];
    case "additionalProperties":
      return [problemAt(within(pointer, String(params["additionalProperty"])), "is not a setting")];
    case "discriminator":
      // an object without its tag is reported as `required` already
      if (params["tagValue"] === undefined) return [];
      return [problemAt(within(pointer, String(params["tag"])), choiceOf(pointer))];
    default:
      return [problemAt(pointer, sentenceOf(error.keyword, params) ?? error.message ?? error.keyword)];
  }
}

export const MISSING = "is missing";

/** Of a setting that names a file in which Luksmith kept a secret. */
export const SECRET_GONE = "names a secret that Luksmith kept and that is gone: give it anew";

/** What the tag of the object at `pointer` may be. */
function choiceOf(pointer: string): string {
  const object = tokensOf(pointer).findLast((token) => !/^[0-9]+$/.test(token)) ?? "";
  return `must be one of ${(CHOICES[object] ?? []).join(", ")}`;
}

const CHOICES: Readonly<Record<string, readonly string[]>> = {
  keystores: ["file", "barbican", "kmip", "vault"] satisfies KeystoreType[],
  keystone: ["password", "application-credential", "token"] satisfies KeystoneMethod[],
  auth: ["approle", "token"] satisfies VaultMethod[],
  protector: ["file", "systemd-creds", "tpm2", "tang", "pkcs11"] satisfies ProtectorType[],
};

type KeystoreType = NonNullable<Settings["keystores"]>[number]["type"];
type KeystoneMethod = NonNullable<BarbicanKeystoreSettings["keystone"]>["method"];
type ProtectorType = NonNullable<FileKeystoreSettings["protector"]>["type"];
type VaultMethod = VaultKeystoreSettings["auth"]["method"];
