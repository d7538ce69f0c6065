import { closeSync, constants, openSync } from "node:fs";
import { basename, dirname } from "node:path";
import { LuksmithError } from "../error/luksmith-error.js";
import type { CommandRunner } from "../exec/command-runner.js";
import { makeDirectory, replaceFile } from "../fs/atomic-file.js";
import { lockDescriptor } from "../fs/file-lock.js";
import { PUBLIC_FILE } from "../fs/guarded-file.js";
import { removeLeftovers } from "../fs/leftovers.js";
import { systemErrorOf } from "../fs/system-error.js";
import { hintForRefusal } from "../fs/write-refusal.js";
import type { GivenSettings } from "./given.js";
import { digestOf, parseSettings, readSettingsBytes } from "./load.js";
import { requireSecrets } from "./missing-secrets.js";
import { filesNamedIn } from "./named-files.js";
import { secretsDirectoryOf, settingsPath } from "./paths.js";
import { withdrawSecrets, writeSecrets } from "./secret-files.js";
import { removeUnusedSecrets } from "./unused-secrets.js";

const DIRECTORY_MODE = 0o755;
/** Seconds; another save takes milliseconds. */
const PATIENCE = 10;

export interface SaveOptions {
  readonly runner: CommandRunner;
  /** `readSettings().digest` of what the change was made from; without it whatever is there is replaced. */
  readonly expectedDigest?: string;
  readonly path?: string;
  /** Of the files of secrets; the one that belongs to `path` without it. */
  readonly secretsDirectory?: string;
}

/** Settings as takeApart leaves them; a plain text has no secrets. */
export type Saved = string | Pick<GivenSettings, "text" | "secrets">;

/**
 * Replaces the settings, as their text is, atomically and for good; resolves to its digest. Secrets are written before
 * them, to files of their own, and those that nobody has named for an hour go afterwards: whatever ends this in between,
 * the settings name files that are there, and settings that name one that is gone are refused. Of two that change the same settings at once on one host, one wins and the other
 * is told; on two nodes of a cluster, which share the file but not its lock, the later one may win over what it has not
 * seen.
 * @throws SETTINGS_INVALID, SETTINGS_CHANGED, SETTINGS_UNWRITABLE, LOCK_TIMEOUT: the file is as it was; PERMISSIONS_UNSAFE
 *   where others may write to it or to the secrets
 */
export async function saveSettings(saved: Saved, options: SaveOptions): Promise<string> {
  const { path = settingsPath() } = options;
  const { text, secrets } = typeof saved === "string" ? { text: saved, secrets: [] } : saved;
  parseSettings(text, "the input");
  try {
    makeDirectory(dirname(path), DIRECTORY_MODE);
    // the directory is locked, since the file itself is replaced
    using directory = openDirectory(dirname(path));
    await lock(directory.fd, options.runner);
    replaceSettings({ text, secrets }, { ...options, path });
  } catch (thrown) {
    const failure = systemErrorOf(thrown);
    if (failure === undefined) throw thrown;
    const what = `cannot write the settings to ${path}`;
    throw new LuksmithError("SETTINGS_UNWRITABLE", {
      what,
      why: failure.text,
      ...hintForRefusal(failure),
      cause: thrown,
    });
  }
  return digestOf(Buffer.from(text));
}

/** Under the lock. */
function replaceSettings(
  { text, secrets }: Exclude<Saved, string>,
  { expectedDigest, path, secretsDirectory = secretsDirectoryOf(path) }: SaveOptions & { path: string },
): void {
  const check = () => {
    if (expectedDigest !== undefined) requireDigest(path, expectedDigest);
  };
  check();
  requireSecrets(text, secretsDirectory, new Set(secrets.map((secret) => secret.path)));
  removeLeftovers(dirname(path));
  const former = textIn(path) ?? "";
  writeSecrets(secretsDirectory, secrets);
  try {
    replaceFile(path, Buffer.from(text), PUBLIC_FILE.mode, check);
  } catch (thrown) {
    // it may have got its name before it failed
    const current = textIn(path);
    const named = current === undefined ? undefined : filesNamedIn(current);
    withdrawSecrets(secrets, (file) => (named?.has(basename(file)) === false ? "unused" : "used"));
    throw thrown;
  }
  const current = textIn(path);
  if (current !== undefined) removeUnusedSecrets(secretsDirectory, { former, current });
}

/** Empty if there is no file; undefined if nobody knows what is in it. */
function textIn(path: string): string | undefined {
  try {
    return readSettingsBytes(path)?.toString("utf8") ?? "";
  } catch (thrown) {
    // others could write to it, or it cannot be read: it is replaced all the same
    if (thrown instanceof LuksmithError) return undefined;
    throw thrown;
  }
}

function requireDigest(path: string, expected: string): void {
  if (digestOf(readSettingsBytes(path)) === expected) return;
  throw new LuksmithError("SETTINGS_CHANGED", {
    what: `cannot save the settings to ${path}`,
    why: "somebody has changed them since they were read",
    hint: "read them again: luksmith settings get --json",
  });
}

function openDirectory(path: string): Disposable & { readonly fd: number } {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  return { fd, [Symbol.dispose]: () => closeSync(fd) };
}

async function lock(fd: number, runner: CommandRunner): Promise<void> {
  if ((await lockDescriptor(fd, { runner, patience: PATIENCE })) === "locked") return;
  throw new LuksmithError("LOCK_TIMEOUT", {
    what: "cannot save the settings: another luksmith process is saving them",
    why: `it did not finish within ${PATIENCE} s`,
    hint: "try again when it has finished",
  });
}
