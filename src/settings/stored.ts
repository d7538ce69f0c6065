import { isObject, type JsonObject } from "./json-object.js";
import { within } from "./json-pointer.js";
import { isSecretFile } from "./secret-names.js";
import { secretPlacesIn } from "./secret-places.js";

/** What a settings file says, without defaults: what a change starts from. `text` is empty where there is no file. */
export function storedIn(text: string): JsonObject {
  const value: unknown = text === "" ? { version: 1 } : JSON.parse(text);
  return isObject(value) ? value : {};
}

/**
 * Where `stored` names a secret that Luksmith keeps: JSON Pointers of what was given, `/keystores/0/auth/token` for
 * `tokenFile` there.
 */
export function secretsSetIn(stored: JsonObject, directory: string): string[] {
  return secretPlacesIn(stored).flatMap(({ pointer, object, property, fileProperty }) => {
    const path = object[fileProperty];
    return typeof path === "string" && isSecretFile(path, directory) ? [within(pointer, property)] : [];
  });
}
