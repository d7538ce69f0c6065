import { createHash } from "node:crypto";
import { dirname } from "node:path";
import { LuksmithError } from "../error/luksmith-error.js";
import { PUBLIC_FILE, readGuardedFile } from "../fs/guarded-file.js";
import { missingMount, notMounted } from "../fs/missing-mount.js";
import { systemErrorOf } from "../fs/system-error.js";
import type { Profile } from "../generated/settings.js";
import validate from "../generated/validate-settings.cjs";
import { settingsInvalid } from "./errors.js";
import { problemsOfStoredSecrets } from "./given-problems.js";
import { findSyntaxProblem } from "./json-syntax.js";
import { settingsPath } from "./paths.js";
import { problemAt, problemsOf } from "./problems.js";
import { referenceProblems } from "./references.js";
import type { EffectiveProfile, EffectiveSettings } from "./settings.js";

const LIMIT = 1024 * 1024;

export interface SettingsFile {
  readonly settings: EffectiveSettings;
  /** The file as it is, for whoever edits it; empty if there is none. */
  readonly text: string;
  /** SHA-256 of the file's bytes, hexadecimal; of no bytes if there is no file. */
  readonly digest: string;
}

/**
 * The operator's settings; all defaults if there is no file.
 * @throws SETTINGS_INVALID with everything that is wrong, PERMISSIONS_UNSAFE, SETTINGS_UNREADABLE
 */
export function loadSettings(path = settingsPath()): EffectiveSettings {
  return readSettings(path).settings;
}

/** As loadSettings, with what is needed to change them. */
export function readSettings(path = settingsPath()): SettingsFile {
  const bytes = readSettingsBytes(path);
  const text = bytes === undefined ? "" : decodeSettings(bytes, path);
  const settings =
    bytes === undefined ? parseSettings('{"version":1}', "no file") : parseSettings(text, path);
  return { settings, text, digest: digestOf(bytes) };
}

/**
 * `text`'s settings with the defaults filled in. `origin` is for messages.
 * @throws SETTINGS_INVALID, also for a secret in them: whoever is given settings takes them apart first (given.ts)
 */
export function parseSettings(text: string, origin: string): EffectiveSettings {
  const value = parseJson(text, origin);
  const secrets = problemsOfStoredSecrets(value);
  const valid = validate(value);
  const problems = [
    ...(valid ? [] : (validate.errors ?? []).flatMap(problemsOf)),
    ...secrets,
    ...referenceProblems(value),
  ];
  if (problems.length > 0) throw settingsInvalid(origin, problems);
  const filled = value as FilledSettings;
  const [{ name: keystore }] = filled.keystores;
  return { ...filled, profiles: filled.profiles.map((profile) => ({ keystore, ...profile })) };
}

/** What the validator leaves: it has filled in the schema's defaults. */
type FilledSettings = Omit<EffectiveSettings, "profiles"> & {
  readonly profiles: readonly (Omit<EffectiveProfile, "keystore"> & Pick<Profile, "keystore">)[];
};

/** Undefined if there is no file. @throws PERMISSIONS_UNSAFE, SETTINGS_UNREADABLE */
export function readSettingsBytes(path: string): Buffer | undefined {
  const mountPoint = missingMount(dirname(path));
  if (mountPoint !== undefined) {
    // below an empty mount point there are no settings, and all defaults would be somebody else's policy
    throw new LuksmithError("SETTINGS_UNREADABLE", {
      what: `cannot read the settings in ${path}`,
      ...notMounted(mountPoint),
    });
  }
  try {
    return readGuardedFile(path, PUBLIC_FILE, LIMIT + 1);
  } catch (thrown) {
    const failure = systemErrorOf(thrown);
    if (failure === undefined) throw thrown;
    throw new LuksmithError("SETTINGS_UNREADABLE", {
      what: `cannot read the settings in ${path}`,
      why: failure.text,
      hint: "run luksmith as root",
      cause: thrown,
    });
  }
}

export function digestOf(bytes: Uint8Array | undefined): string {
  return createHash("sha256")
    .update(bytes ?? "")
    .digest("hex");
}

/** @throws SETTINGS_INVALID for what is no JSON, or too much of it */
export function parseJson(text: string, origin: string): unknown {
  if (Buffer.byteLength(text) > LIMIT) {
    throw settingsInvalid(origin, [problemAt("", `must not have more than ${LIMIT} bytes`)]);
  }
  try {
    return JSON.parse(text);
  } catch {
    const problem = findSyntaxProblem(text);
    const place = problem === undefined ? "" : `line ${problem.line}, column ${problem.column}`;
    const sentence = problem?.sentence ?? "is not JSON";
    throw settingsInvalid(origin, [{ pointer: "", path: place, sentence }]);
  }
}

/** @throws SETTINGS_INVALID for what is not UTF-8: replaced characters would make another password */
export function decodeSettings(bytes: Uint8Array, origin: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw settingsInvalid(origin, [problemAt("", "must be UTF-8 text")]);
  }
}
