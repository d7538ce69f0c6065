import type { SettingsGetOutput } from "../../generated/settings-get.js";
import {
  SECRET_NAMES,
  type SecretName,
  type SecretPlace,
  secretPlacesIn,
} from "../../settings/secret-places.js";
import { fileOf } from "./fields-of.js";
import { isObject, type Json, textIn } from "./json.js";
import { getAt } from "./pointer.js";

/** What is kept in the file that the property names; undefined for every other property. */
export function secretOf(property: string): SecretName | undefined {
  return SECRET_NAMES.find((secret) => fileOf(secret) === property);
}

/** Paths of the files in which Luksmith itself keeps secrets: what a property names them by, wherever it moves to. */
export function keptFiles({
  stored,
  secretsSet,
}: Pick<SettingsGetOutput, "stored" | "secretsSet">): Set<string> {
  const settings = isObject(stored) ? stored : undefined;
  const paths = secretsSet.map((pointer) => getAt(settings, fileOf(pointer)));
  return new Set(paths.filter((path) => typeof path === "string"));
}

/** Whether the file that the object names for its secret is one of `kept`. */
export function isKept(object: Json | undefined, secret: string, kept: ReadonlySet<string>): boolean {
  const path = textIn(object, fileOf(secret));
  return path !== undefined && kept.has(path);
}

/**
 * Where `edited` names a file that had a stored secret (`former`) and that the newer settings name nowhere: the host
 * has removed it with whatever named it.
 */
export function placesOfRemoved(
  edited: Json | undefined,
  former: ReadonlySet<string>,
  newer: SettingsGetOutput,
): SecretPlace[] {
  const named = new Set(secretPlacesIn(newer.stored).map(fileIn));
  return secretPlacesIn(edited).filter((place) => {
    const path = fileIn(place);
    return typeof path === "string" && former.has(path) && !named.has(path);
  });
}

function fileIn({ object, fileProperty }: SecretPlace): unknown {
  return object[fileProperty];
}
