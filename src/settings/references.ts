import { member, type Problem } from "./errors.js";
import { DEFAULT_PROFILE } from "./settings.js";

/** An object in one of the settings' lists. */
interface Entry {
  readonly path: string;
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
    isObject(item) ? [{ path: member(list, String(index)), values: item }] : [],
  );
}

/** With its default, which the cipher may not take. */
function legacyOf(settings: unknown): Entry[] {
  const legacy = isObject(settings) ? settings["legacy"] : undefined;
  return isObject(legacy) ? [{ path: "legacy", values: { keySize: 512, ...legacy } }] : [];
}

function duplicates(entries: readonly Entry[]): Problem[] {
  return entries.flatMap(({ path, values: { name } }, index) => {
    const earlier = entries
      .slice(0, index)
      .find(({ values }) => name !== undefined && values["name"] === name);
    return earlier === undefined
      ? []
      : [{ path: `${path}.name`, sentence: `is the name of ${earlier.path} already` }];
  });
}

function unknownName({ path, values }: Entry, field: string, known: readonly Entry[]): Problem[] {
  const wanted = values[field];
  if (typeof wanted !== "string" || known.some(({ values: { name } }) => name === wanted)) return [];
  const names = new Set(known.map(({ values: { name } }) => name).filter((name) => typeof name === "string"));
  const sentence = `there is no ${field} of this name; there is ${[...names].join(", ") || "none"}`;
  return [{ path: `${path}.${field}`, sentence }];
}

/** AES takes at most 256 bits; XTS takes two keys. */
function wrongKeySize({ path, values: { cipher, keySize } }: Entry): Problem[] {
  if (typeof cipher !== "string" || !cipher.startsWith("aes-cbc-") || keySize !== 512) return [];
  return [{ path: `${path}.keySize`, sentence: `must be 256 for the cipher ${cipher}` }];
}

/** Keystone tells where Barbican is and which project is meant; without it the settings must. */
function unknownBarbican({ path, values }: Entry): Problem[] {
  if (values["type"] !== "barbican" || values["keystone"] !== undefined) return [];
  return ["url", "projectId"]
    .filter((field) => values[field] === undefined)
    .map((field) => ({ path: `${path}.${field}`, sentence: "is needed where there is no keystone" }));
}

function missingDefault(profiles: readonly Entry[]): Problem[] {
  if (profiles.length === 0 || profiles.some(({ values: { name } }) => name === DEFAULT_PROFILE)) return [];
  return [
    { path: "profiles", sentence: `one must be named ${DEFAULT_PROFILE}, for whoever asks for no other` },
  ];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
