import type { ErrorObject } from "ajv";
import { LuksmithError } from "../error/luksmith-error.js";
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
      // a keystore without a type is reported as `required` already
      if (params["tagValue"] === undefined) return [];
      return [{ path: member(path, "type"), sentence: `must be one of ${KEYSTORE_TYPES.join(", ")}` }];
    default:
      return [{ path, sentence: sentenceOf(error.keyword, params) ?? error.message ?? error.keyword }];
  }
}

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
  "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$":
    "must be a name: at most 64 letters, digits, dots, dashes and underscores, the first a letter or digit",
};
