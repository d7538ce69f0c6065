import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { Secret } from "../secret/secret.js";
import { settingsInvalid } from "./errors.js";
import { givenIn, problemsOfGiven } from "./given-problems.js";
import { parseJson, parseSettings } from "./load.js";
import { hasRepeatedNames } from "./repeated-names.js";
import { nameOfSecret } from "./secret-names.js";
import type { EffectiveSettings } from "./settings.js";

/** A secret that settings came with, and the file that they name for it now. */
export interface GivenSecret {
  readonly path: string;
  readonly secret: Secret;
}

/** Settings that were given, without the secrets that were in them. Disposing wipes these. */
export interface GivenSettings extends Disposable {
  /** For the settings' file: as it was given where there was no secret in it. */
  readonly text: string;
  /** With the defaults filled in. */
  readonly settings: EffectiveSettings;
  readonly secrets: readonly GivenSecret[];
}

/**
 * Takes what an administrator gives apart: each secret gets a file of its own in `directory` by a name that is new, and
 * goes before a file that was named for it. Nothing is written here.
 *
 * The secrets' bytes are wiped; their characters are not: `text` and what JSON.parse makes of it are strings, which
 * Node cannot wipe, and which stay in this process until its memory is used anew.
 * @param origin where `text` is from, for messages
 * @throws SETTINGS_INVALID with everything that is wrong
 */
export function takeApart(text: string, origin: string, directory: string): GivenSettings {
  const value = parseJson(text, origin);
  const problems = problemsOfGiven(value);
  if (problems.length > 0) throw settingsInvalid(origin, problems);
  const given = givenIn(value);
  // what JSON.parse has dropped may have been a secret
  const isFree = given.length === 0 && !hasRepeatedNames(text, value);
  const secrets = given.map(({ object, property, fileProperty, owner }): GivenSecret => {
    const path = join(directory, nameOfSecret(owner, property, randomBytes(6).toString("hex")));
    const secret = Secret.own(Buffer.from(String(object[property])));
    Reflect.deleteProperty(object, property);
    object[fileProperty] = path;
    return { path, secret };
  });
  const dispose = () => secrets.forEach(({ secret }) => secret.dispose());
  try {
    const rest = isFree ? text : `${JSON.stringify(value, undefined, 2)}\n`;
    return { text: rest, settings: parseSettings(rest, origin), secrets, [Symbol.dispose]: dispose };
  } catch (thrown) {
    dispose();
    throw thrown;
  }
}
