/** What is wrong with a value, by the keyword of JSON Schema that refuses it. Never quotes the value. */
export function sentenceOf(keyword: string, params: Readonly<Record<string, unknown>>): string | undefined {
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
    case "maxLength":
      return `must have at most ${String(params["limit"])} characters`;
    case "minimum":
    case "maximum":
      return `must be ${String(params["comparison"])} ${String(params["limit"])}`;
    case "minItems":
      return "must have at least one entry";
    case "uniqueItems":
      return "must not have an entry twice";
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
  "^(auto|(device:)?/dev/[A-Za-z0-9_-]*tpm[A-Za-z0-9_-]*|(swtpm|mssim|tabrmd):[A-Za-z0-9_.,:=/@-]*)$":
    "must be a TPM device, such as /dev/tpmrm0, or auto, or swtpm:, mssim: or tabrmd: with options",
  "^(device(:/dev/[A-Za-z0-9_-]*tpm[A-Za-z0-9_-]*)?|(swtpm|mssim|tabrmd)(:[A-Za-z0-9_.,:=/@-]+)?)$":
    "must be device:/dev/tpmrm0, or another TCTI of tpm2-tools that starts no program: swtpm, mssim or tabrmd",
  "^(1?[0-9]|2[0-3])(,(1?[0-9]|2[0-3]))*$": "must be PCR numbers from 0 to 23, separated by commas",
  "^[A-Za-z0-9_-]{27}([A-Za-z0-9_-]{16})?$": "must be the thumbprint of a key that tang-show-keys prints",
  "^[A-Za-z0-9_.-]{1,64}$": "must be an id: at most 64 letters, digits, dots, dashes and underscores",
  "^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$":
    "must be a path of letters, digits, dots, dashes and underscores, without / at its ends, and each part begins with a letter, digit or underscore",
  "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$":
    "must be a name: at most 64 letters, digits, dots, dashes and underscores, the first a letter or digit",
  "^age1[0-9a-z]{20,}$": "must be a public key of age, such as age-keygen prints: age1…",
  "^[^\\u0000-\\u001f\\u007f-\\u009f\\ud800-\\udfff]*$": "must be printable text, on one line",
};
