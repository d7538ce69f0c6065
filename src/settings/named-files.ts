import { basename } from "node:path";
import { isObject, type JsonObject } from "./json-object.js";
import { secretPlacesIn } from "./secret-places.js";

/**
 * The last parts of all paths in a settings file, whatever they are for, and however they lead there: by another mount
 * or link it is the same file. Empty for a text that is no JSON.
 */
export function filesNamedIn(text: string): ReadonlySet<string> {
  return new Set(textsIn(parsed(text)).map((path) => basename(path)));
}

/** Files with PINs in whose place other settings name another file, for the same key of the same token. */
export function replacedPins(former: string, current: string): ReadonlySet<string> {
  const now = pinsIn(current);
  return new Set(
    [...pinsIn(former)].flatMap(([key, file]) => (now.has(key) && now.get(key) !== file ? [file] : [])),
  );
}

/** By who has it, token and key. */
function pinsIn(text: string): Map<string, string> {
  const settings = parsed(text);
  const pins = secretPlacesIn(settings).filter(({ property }) => property === "pin");
  return new Map(
    pins.map(({ pointer, object }) => {
      const { token, key, pinFile } = object;
      return [JSON.stringify([holderOf(settings, pointer), token, key]), basename(String(pinFile))];
    }),
  );
}

/** The directory of the keystore, which is what has the master key. */
function holderOf(settings: unknown, pointer: string): unknown {
  const index = /^\/keystores\/([0-9]+)\//.exec(pointer)?.[1];
  if (index === undefined || !isObject(settings)) return "cache";
  const { keystores } = settings;
  const keystore: unknown = Array.isArray(keystores) ? keystores[Number(index)] : undefined;
  return isObject(keystore) ? (keystore["directory"] ?? null) : null;
}

function textsIn(value: unknown): string[] {
  if (typeof value === "string") return [value];
  if (Array.isArray(value)) return value.flatMap(textsIn);
  return isObject(value) ? Object.values(value satisfies JsonObject).flatMap(textsIn) : [];
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
