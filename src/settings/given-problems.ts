import validate from "../generated/validate-settings.cjs";
import { within } from "./json-pointer.js";
import { MISSING, type Problem, problemAt, problemsOf } from "./problems.js";
import { referenceProblems } from "./references.js";
import { type SecretPlace, secretPlacesIn } from "./secret-places.js";

/**
 * All that is wrong with settings as they are given, with secrets in them: a secret that is given needs no file that
 * it is in. Pure, for pages as well; leaves `settings` as they are.
 */
export function problemsOfGiven(settings: unknown): Problem[] {
  // the validator fills in defaults
  const filled = structuredClone(settings);
  const found = validate(filled) ? [] : (validate.errors ?? []).flatMap(problemsOf);
  const needless = new Set(givenIn(settings).map((place) => within(place.pointer, place.fileProperty)));
  return [
    ...found.filter(({ pointer, sentence }) => sentence !== MISSING || !needless.has(pointer)),
    ...referenceProblems(filled),
  ];
}

/** What is wrong with secrets in settings that are stored: they are there. */
export function problemsOfStoredSecrets(settings: unknown): Problem[] {
  return givenIn(settings).map(({ pointer, property, fileProperty }) =>
    problemAt(
      within(pointer, property),
      `must not be in the settings' file: luksmith settings set takes it, and writes it to a file that ${fileProperty} then names`,
    ),
  );
}

/** Where a secret is, whatever it is worth. */
export function givenIn(settings: unknown): SecretPlace[] {
  return secretPlacesIn(settings).filter(({ object, property }) => Object.hasOwn(object, property));
}
