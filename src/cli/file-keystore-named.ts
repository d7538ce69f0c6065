import { LuksmithError } from "../error/luksmith-error.js";
import type { FileKeystorePlace } from "../keystore/file/file-keystore.js";
import type { EffectiveSettings } from "../settings/settings.js";

/** The settings of the file keystore `name`. @throws KEYSTORE_UNKNOWN, also for one of another type */
export function fileKeystoreNamed({ keystores }: EffectiveSettings, name: string): FileKeystorePlace {
  const found = keystores.find((keystore) => keystore.name === name);
  if (found?.type === "file") return found;
  const known = keystores.filter(({ type }) => type === "file").map((keystore) => keystore.name);
  throw new LuksmithError("KEYSTORE_UNKNOWN", {
    what: `there is no file keystore ${name}`,
    ...(found === undefined ? {} : { why: `it is of type ${found.type}, whose master key is not ours` }),
    hint: known.length === 0 ? "the settings have none" : `the settings have: ${known.join(", ")}`,
  });
}
