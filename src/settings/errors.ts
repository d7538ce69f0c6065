import type { ErrorObject } from "ajv";
import { LuksmithError } from "../error/luksmith-error.js";
import type { BarbicanKeystoreSettings } from "../generated/keystore-barbican.js";
import type { FileKeystoreSettings } from "../generated/keystore-file.js";
import type { VaultKeystoreSettings } from "../generated/keystore-vault.js";
import { KEYSTORE_TYPES } from "../keystore/index.js";

/** One thing that is wrong in the settings. */
export interface Problem {
  /** `profiles[0].cipher`, or the place in the text; empty for the settings as a whole. */
  readonly path: string;
  /** What is wrong with it: `must be one of …`. */
  readonly sentence: string;
}

/** SETTINGS_INVALID with every problem on a line. `origin`: where the settings are from, a path. */
export function settingsInvalid(origin: string, problems: readonly Problem[]): LuksmithError {
  const lines = problems.map(({ path, sentence }) => `${path || "settings"}: ${sentence}`);
  return new LuksmithError("SETTINGS_INVALID", {
    what: `cannot use the settings from ${origin}`,
    // what two branches of the schema require is missing once
    why: [...new Set(lines)].join("\n"),
    hint: "luksmith settings schema prints what is allowed",
  });
}

/** The validator's error in words that an administrator reads. Never quotes a value, which may be a secret. */
export function problemsOf(error: ErrorObject): Problem[] {
  const path = pathOf(error.instancePath);
  const params = error.params as Readonly<Record<string, unknown>>;
  switch (error.keyword) {
    case "required":
      return [{ path: member(path, String(params["missingProperty"])), sentence: "is missing" }];
    case "additionalProperties":
      return [{ path: member(path, String(params["additionalProperty"])), sentence: "is not a setting" }];
    case "discriminator":
      // an object without its tag is reported as `required` already
      if (params["tagValue"] === undefined) return [];
      return [{ path: member(path, String(params["tag"])), sentence: choiceOf(path) }];
    default:
      return [{ path, sentence: sentenceOf(error.keyword, params) ?? error.message ?? error.keyword }];
  }
}

/** What the tag of the object at `path` may be. */
function choiceOf(path: string): string {
  const object = path.split(".").at(-1) ?? "";
  const choices = CHOICES[object.replace(/\[.*$/, "")] ?? [];
  return `must be one of ${choices.join(", ")}`;
}

const CHOICES: Readonly<Record<string, readonly string[]>> = {
  keystores: KEYSTORE_TYPES,
  keystone: ["password", "application-credential", "token"] satisfies KeystoneMethod[],
  auth: ["approle", "token"] satisfies VaultMethod[],
  protector: ["file", "systemd-creds", "tpm2", "tang", "pkcs11"] satisfies ProtectorType[],
};

type KeystoneMethod = NonNullable<BarbicanKeystoreSettings["keystone"]>["method"];
type ProtectorType = NonNullable<FileKeystoreSettings["protector"]>["type"];
type VaultMethod = VaultKeystoreSettings["auth"]["method"];

/** `/profiles/0/name` as `profiles[0].name` */
function pathOf(pointer: string): string {
  return pointer
    .split("/")
    .slice(1)
    .map((token) => token.replaceAll("~1", "/").replaceAll("~0", "~"))
    .reduce(member, "");
}

export function member(path: string, name: string): string {
  if (/^[0-9]+$/.test(name)) return `${path}[${name}]`;
  if (!/^[A-Za-z_][\w-]*$/.test(name)) return `${path}[${JSON.stringify(name)}]`;
  return path === "" ? name : `${path}.${name}`;
}

function sentenceOf(keyword: string, params: Readonly<Record<string, unknown>>): string | undefined {
  switch (keyword) {
    case "type":
      return TYPES[String(params["type"])];
    case "enum":
      return Array.isArray(params["allowedValues"])
        ? `must be one of ${params["allowedValues"].join(", ")}`
        : undefined;
    case "const":
      return `must be ${String(params["allowedValue"])}`;
    case "pattern":
      return PATTERNS[String(params["pattern"])];
    case "minLength":
      return "must not be empty";
    case "minimum":
    case "maximum":
      return `must be ${String(params["comparison"])} ${String(params["limit"])}`;
    case "minItems":
      return "must have at least one entry";
    default:
      return undefined;
  }
}

const TYPES: Readonly<Record<string, string>> = {
  array: "must be a list, in []",
  boolean: "must be true or false",
  integer: "must be a whole number",
  object: "must be an object, in {}",
  string: "must be a text, in double quotes",
};

/** Every pattern of the settings' schemas; a test sees that none is missing. */
export const PATTERNS: Readonly<Record<string, string>> = {
  "^/": "must be an absolute path",
  "^[a-z+]+://": "must be a URI such as qemu:///system",
  "^https?://[^\\s?#@]+$": "must be an address such as https://vault.example:8200, without user, ? and #",
  '^https?://[^\\s?#@"\\\\]+$': "must be an address such as http://tang.example, without user, ? and #",
  "^/[^\\0]+\\.so(\\.[0-9.]+)?$": "must be the absolute path of a shared library, such as /usr/lib/hsm.so",
  "^[!-~]([ -~]{0,30}[!-~])?$": "must be a label of at most 32 ASCII characters, without spaces at its ends",
  "^[!-~]([ -~]{0,62}[!-~])?$": "must be a label of at most 64 ASCII characters, without spaces at its ends",
  "^[A-Za-z0-9/][^\\s]*$": "must be a TPM device, such as /dev/tpmrm0",
  "^[A-Za-z0-9][^\\s]*$": "must be a TCTI of tpm2-tools, such as device:/dev/tpmrm0",
  "^(1?[0-9]|2[0-3])(,(1?[0-9]|2[0-3]))*$": "must be PCR numbers from 0 to 23, separated by commas",
  "^[A-Za-z0-9_-]{27}([A-Za-z0-9_-]{16})?$": "must be the thumbprint of a key that tang-show-keys prints",
  "^[A-Za-z0-9_.-]{1,64}$": "must be an id: at most 64 letters, digits, dots, dashes and underscores",
  "^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$":
    "must be a path of letters, digits, dots, dashes and underscores, without / at its ends, and each part begins with a letter, digit or underscore",
  "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$":
    "must be a name: at most 64 letters, digits, dots, dashes and underscores, the first a letter or digit",
};
