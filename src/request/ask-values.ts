import type { EncryptionFormat } from "../encryption/luks-spec.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { printable } from "../error/printable.js";

const YES = new Set(["1", "t", "true", "on", "y", "yes"]);
const NO = new Set(["0", "f", "false", "off", "n", "no"]);

/** A boolean as OpenStack's oslo_utils.strutils.bool_from_string reads it with strict=True. @throws REQUEST_INVALID */
export function parseEnabled(source: string, text: string): boolean {
  const word = text.trim().toLowerCase();
  if (YES.has(word)) return true;
  if (NO.has(word)) return false;
  throw requestInvalid(`${source} is "${printable(text)}"`, "it must be true or false");
}

const FORMATS = ["plain", "luks", "luksv2"] as const satisfies readonly EncryptionFormat[];

/** Nova's BlockDeviceEncryptionFormatType; case matters, as there. @throws REQUEST_INVALID */
export function parseFormat(source: string, text: string): EncryptionFormat {
  const format = FORMATS.find((known) => known === text.trim());
  if (format !== undefined) return format;
  throw requestInvalid(`${source} is "${printable(text)}"`, `it must be one of ${FORMATS.join(", ")}`);
}

/** A wish for encryption that cannot be understood must not silently mean plaintext. */
export function requestInvalid(what: string, why: string): LuksmithError {
  return new LuksmithError("REQUEST_INVALID", { what, why });
}
