import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { LuksmithError } from "../error/luksmith-error.js";
import type { CommandRunner } from "../exec/command-runner.js";
import { makeDirectory } from "../fs/atomic-file.js";
import { isInMemory } from "../fs/memory-file-system.js";
import { systemErrorOf } from "../fs/system-error.js";
import { pinMemoryPath } from "../keystore/file/protectors/pin-file.js";
import { writeSecrets } from "../settings/secret-files.js";
import { readGivenSettings } from "./settings-input.js";
import { forgetsPin, guardPin, type Staged, stageKeystore } from "./settings-stage.js";
import { TriedPins } from "./settings-test-pins.js";

const RUN = "/run/luksmith";
const TRIED_PINS = join(RUN, "tried-pins");
const NAME = /^settings-test-(?<pid>[0-9]+)-/;
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Keystores of settings that are not saved. */
export interface Candidate extends Disposable {
  readonly keystores: readonly Staged[];
}

/**
 * The keystores of the settings on standard input, ready to be tried. Their secrets, and file keystores that are not
 * there yet, are in a directory (0700) in memory until this is disposed of, or a signal ends the process.
 * @throws USAGE, SETTINGS_INVALID, SECRET_FILE_UNAVAILABLE
 */
export function readCandidate(runner: CommandRunner): Candidate {
  const place = makePlace();
  try {
    using given = readGivenSettings("luksmith settings test --stdin < FILE", place.directory);
    writeSecrets(place.directory, given.secrets);
    const tried = new TriedPins(TRIED_PINS, runner);
    const keystores = given.settings.keystores.map((one) => {
      const staged = stageKeystore(one, place.directory);
      const { keystore } = staged;
      if (!forgetsPin(keystore, place.directory)) return staged;
      // of a file that will not be there again
      const { token, pinFile } = keystore.protector;
      place.alsoRemove(pinMemoryPath(keystore.directory, token, pinFile));
      return guardPin(staged, keystore, tried);
    });
    return { keystores, [Symbol.dispose]: () => place.remove() };
  } catch (thrown) {
    place.remove();
    const failure = systemErrorOf(thrown);
    throw failure === undefined ? thrown : unavailable(failure.text);
  }
}

function makePlace() {
  const directory = makeDirectoryInMemory();
  const files: string[] = [];
  const remove = () => {
    for (const path of [directory, ...files]) rmSync(path, { recursive: true, force: true });
    process.off("exit", remove);
    for (const signal of SIGNALS) process.off(signal, end);
  };
  const end = (signal: NodeJS.Signals) => {
    remove();
    // without the handler it does what it would have done
    process.kill(process.pid, signal);
  };
  process.once("exit", remove);
  for (const signal of SIGNALS) process.on(signal, end);
  return { directory, remove, alsoRemove: (...paths: readonly string[]) => files.push(...paths) };
}

/** @throws SECRET_FILE_UNAVAILABLE */
function makeDirectoryInMemory(): string {
  try {
    makeDirectory(RUN, 0o700);
    if (!isInMemory(RUN)) throw unavailable(`${RUN} is not in memory`);
    removeAbandoned();
    return mkdtempSync(join(RUN, `settings-test-${process.pid}-`));
  } catch (thrown) {
    const failure = systemErrorOf(thrown);
    throw failure === undefined ? thrown : unavailable(failure.text);
  }
}

/** What a killed test left. */
function removeAbandoned(): void {
  for (const name of readdirSync(RUN)) {
    const pid = NAME.exec(name)?.groups?.["pid"];
    if (pid !== undefined && !isRunning(Number(pid)))
      rmSync(join(RUN, name), { recursive: true, force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (thrown) {
    return systemErrorOf(thrown)?.code !== "ESRCH";
  }
}

function unavailable(why: string): LuksmithError {
  return new LuksmithError("SECRET_FILE_UNAVAILABLE", {
    what: "cannot keep the settings' secrets in memory for the test",
    why,
    hint: `mount a tmpfs with free space on /run, and see that ${RUN} can be written`,
  });
}
