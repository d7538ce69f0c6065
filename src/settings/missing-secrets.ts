import { lstatSync } from "node:fs";
import { basename, dirname } from "node:path";
import { settingsInvalid } from "./errors.js";
import { parseJson } from "./load.js";
import { within } from "./json-pointer.js";
import { problemAt, SECRET_GONE } from "./problems.js";
import { secretInFile } from "./secret-names.js";
import { secretPlacesIn } from "./secret-places.js";

/**
 * That every secret that Luksmith is said to keep is there: somebody may have removed it since these settings were
 * read, and a keystore that came back would come without it.
 * @param written files that are about to be made
 * @throws SETTINGS_INVALID at each secret that is not there
 */
export function requireSecrets(text: string, directory: string, written: ReadonlySet<string>): void {
  const problems = secretPlacesIn(parseJson(text, ORIGIN)).flatMap(({ pointer, object, fileProperty }) => {
    const path = object[fileProperty];
    if (typeof path !== "string" || dirname(path) !== directory || written.has(path)) return [];
    if (secretInFile(basename(path)) === undefined || isThere(path)) return [];
    return [problemAt(within(pointer, fileProperty), SECRET_GONE)];
  });
  if (problems.length > 0) throw settingsInvalid(ORIGIN, problems);
}

const ORIGIN = "the input";

function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}
