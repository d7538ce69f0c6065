import { closeSync, constants, openSync } from "node:fs";
import { dirname } from "node:path";
import { LuksmithError } from "../error/luksmith-error.js";
import type { CommandRunner } from "../exec/command-runner.js";
import { makeDirectory, replaceFile } from "../fs/atomic-file.js";
import { lockDescriptor } from "../fs/file-lock.js";
import { PUBLIC_FILE } from "../fs/guarded-file.js";
import { removeLeftovers } from "../fs/leftovers.js";
import { systemErrorOf } from "../fs/system-error.js";
import { hintForRefusal } from "../fs/write-refusal.js";
import { digestOf, parseSettings, readSettingsBytes } from "./load.js";
import { settingsPath } from "./paths.js";

const DIRECTORY_MODE = 0o755;
/** Seconds; another save takes milliseconds. */
const PATIENCE = 10;

export interface SaveOptions {
  readonly runner: CommandRunner;
  /** `readSettings().digest` of what the change was made from; without it whatever is there is replaced. */
  readonly expectedDigest?: string;
  readonly path?: string;
}

/**
 * Replaces the settings by `text`, as it is, atomically and for good; resolves to its digest. Of two that change the
 * same settings at once on one host, one wins and the other is told; on two nodes of a cluster, which share the file
 * but not its lock, the later one may win over what it has not seen.
 * @throws SETTINGS_INVALID, SETTINGS_CHANGED, SETTINGS_UNWRITABLE, LOCK_TIMEOUT: the file is as it was
 */
export async function saveSettings(text: string, options: SaveOptions): Promise<string> {
  const { runner, expectedDigest, path = settingsPath() } = options;
  parseSettings(text, "the input");
  const bytes = Buffer.from(text);
  try {
    makeDirectory(dirname(path), DIRECTORY_MODE);
    // the directory is locked, since the file itself is replaced
    using directory = openDirectory(dirname(path));
    await lock(directory.fd, runner);
    if (expectedDigest !== undefined) requireDigest(path, expectedDigest);
    removeLeftovers(dirname(path));
    replaceFile(path, bytes, PUBLIC_FILE.mode, () => {
      if (expectedDigest !== undefined) requireDigest(path, expectedDigest);
    });
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
  return digestOf(bytes);
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
