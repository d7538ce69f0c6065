import { lstatSync } from "node:fs";
import { basename, dirname } from "node:path";
import { SECRET_NAMES, type SecretName } from "./secret-places.js";

/** Only files of such names are ours: whatever else is in their directory is somebody's. */
const NAME = new RegExp(
  `^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}-(?<secret>${SECRET_NAMES.join("|")})-[0-9a-f]{12}$`,
);

/** @param unique 12 hexadecimal digits */
export function nameOfSecret(owner: string, secret: SecretName, unique: string): string {
  return `${owner}-${secret}-${unique}`;
}

/** Which secret Luksmith keeps in the file of this name; undefined for a file of somebody else. */
export function secretInFile(name: string): string | undefined {
  return NAME.exec(name)?.groups?.["secret"];
}

/** The empty file that says since when nobody names the secret in the file `name`: its own time does. */
export function markOf(name: string): string {
  return `${name}${MARK}`;
}

/** The file of the secret that `mark` is about; undefined if it is no such mark. */
export function markedBy(mark: string): string | undefined {
  const name = mark.endsWith(MARK) ? mark.slice(0, -MARK.length) : "";
  return secretInFile(name) === undefined ? undefined : name;
}

const MARK = ".unused";

/** Whether `path` is a file that Luksmith keeps a secret in. No link: what it leads to would be somebody else's. */
export function isSecretFile(path: string, directory: string): boolean {
  if (dirname(path) !== directory || secretInFile(basename(path)) === undefined) return false;
  return lstatSync(path, { throwIfNoEntry: false })?.isFile() === true;
}
