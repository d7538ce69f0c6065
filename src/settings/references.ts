import { DEFAULT_PROFILE } from "./default-profile.js";
import { isObject } from "./json-object.js";
import { readablePath, within } from "./json-pointer.js";
import { type Problem, problemAt } from "./problems.js";

/** An object in one of the settings' lists. */
interface Entry {
  readonly pointer: string;
  readonly values: Readonly<Record<string, unknown>>;
}

/**
 * What a schema cannot say: names that are used twice or that nothing has, key sizes that a cipher does not take, and
 * settings that are needed where another one is missing.
 * Takes settings that the schema refuses as well, so that an administrator sees all that is wrong at once.
 */
export function referenceProblems(settings: unknown): Problem[] {
  const keystores = entriesOf(settings, "keystores");
  const profiles = entriesOf(settings, "profiles");
  const rules = entriesOf(settings, "rules");
  return [
    ...[keystores, profiles, rules].flatMap(duplicates),
    ...profiles.flatMap((profile) => unknownName(profile, "keystore", keystores)),
    ...rules.flatMap((rule) => unknownName(rule, "profile", profiles)),
    ...[...profiles, ...legacyOf(settings)].flatMap(wrongKeySize),
    ...keystores.flatMap(unknownBarbican),
    ...missingDefault(profiles),
  ];
}

function entriesOf(settings: unknown, list: string): Entry[] {
  const items: unknown = isObject(settings) ? settings[list] : undefined;
  if (!Array.isArray(items)) return [];
  return items.flatMap((item: unknown, index) =>
    isObject(item) ? [{ pointer: `/${list}/${index}`, values: item }] : [],
  );
}

/** With its default, which the cipher may not take. */
function legacyOf(settings: unknown): Entry[] {
  const legacy = isObject(settings) ? settings["legacy"] : undefined;
  return isObject(legacy) ? [{ pointer: "/legacy", values: { keySize: 512, ...legacy } }] : [];
}

function duplicates(entries: readonly Entry[]): Problem[] {
  return entries.flatMap(({ pointer, values: { name } }, index) => {
    const earlier = entries
      .slice(0, index)
      .find(({ values }) => name !== undefined && values["name"] === name);
    return earlier === undefined
      ? []
      : [problemAt(within(pointer, "name"), `is the name of ${readablePath(earlier.pointer)} already`)];
  });
}

function unknownName({ pointer, values }: Entry, field: string, known: readonly Entry[]): Problem[] {
  const wanted = values[field];
  if (typeof wanted !== "string" || known.some(({ values: { name } }) => name === wanted)) return [];
  const names = new Set(known.map(({ values: { name } }) => name).filter((name) => typeof name === "string"));
  const sentence = `there is no ${field} of this name; there is ${[...names].join(", ") || "none"}`;
  return [problemAt(within(pointer, field), sentence)];
}

/** AES takes at most 256 bits; XTS takes two keys. */
function wrongKeySize({ pointer, values: { cipher, keySize } }: Entry): Problem[] {
  if (typeof cipher !== "string" || !cipher.startsWith("aes-cbc-") || keySize !== 512) return [];
  return [problemAt(within(pointer, "keySize"), `must be 256 for the cipher ${cipher}`)];
}

/** Keystone tells where Barbican is and which project is meant; without it the settings must. */
function unknownBarbican({ pointer, values }: Entry): Problem[] {
  if (values["type"] !== "barbican" || values["keystone"] !== undefined) return [];
  return ["url", "projectId"]
    .filter((field) => values[field] === undefined)
    .map((field) => problemAt(within(pointer, field), "is needed where there is no keystone"));
}

function missingDefault(profiles: readonly Entry[]): Problem[] {
  if (profiles.length === 0 || profiles.some(({ values: { name } }) => name === DEFAULT_PROFILE)) return [];
  return [problemAt("/profiles", `one must be named ${DEFAULT_PROFILE}, for whoever asks for no other`)];
}
