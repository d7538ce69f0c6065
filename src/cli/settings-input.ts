import { type GivenSettings, takeApart } from "../settings/given.js";
import { decodeSettings } from "../settings/load.js";
import { readStandardInput } from "./standard-input.js";

/**
 * The settings on standard input, with the secrets in them apart.
 * @param usage how the command is called
 * @param directory where the secrets are to be kept
 * @throws USAGE, SETTINGS_INVALID
 */
export function readGivenSettings(usage: string, directory: string): GivenSettings {
  const bytes = readStandardInput({ what: "there are no settings", hint: usage });
  try {
    return takeApart(decodeSettings(bytes, ORIGIN), ORIGIN, directory);
  } finally {
    // a secret may be in it
    bytes.fill(0);
  }
}

const ORIGIN = "standard input";
