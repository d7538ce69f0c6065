import { open } from "node:fs/promises";
import { readFileSync } from "node:fs";
import type { LuksSpec } from "../../src/encryption/luks-spec.js";
import { asLuksmithError } from "../../src/error/luksmith-error.js";
import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import { parseKeyUuid } from "../../src/keystore/key-uuid.js";
import { Secret } from "../../src/secret/secret.js";
import type { StorageSettings } from "../../src/storage/index.js";
import type { Volume } from "../../src/storage/volume.js";
import { RecordingCommandRunner } from "../fake/recording-command-runner.js";
import { makeBackend } from "./workshop.js";

/** The one argument of format-process.ts, as JSON. */
export interface FormatOrder {
  readonly type: string;
  readonly volume: Volume;
  readonly uuid: string;
  readonly spec: LuksSpec;
  readonly passphraseFile: string;
  readonly lockDirectory: string;
  readonly settings: StorageSettings;
  /** The process kills itself before its n-th step, counted from 1: a command, a write, or waiting for the storage. */
  readonly killedBefore?: number;
}

/** createEncrypted in a process of its own, to be killed and broken. Prints `done` or the error's code. */
async function main(order: FormatOrder): Promise<string> {
  const uuid = parseKeyUuid(order.uuid);
  if (uuid === undefined) throw new Error("wrong usage");
  using passphrase = Secret.own(readFileSync(order.passphraseFile));
  const runner = new RecordingCommandRunner(new ExecaCommandRunner());
  const step = stepCounter(order.killedBefore);
  runner.before = step;
  await countFileWrites(step);
  const backend = makeBackend(order.type, runner, order.lockDirectory, order.settings);
  try {
    await backend.createEncrypted({ volume: order.volume, uuid, spec: order.spec, passphrase });
    return "done";
  } catch (thrown) {
    return asLuksmithError(thrown).code;
  }
}

function stepCounter(killedBefore: number | undefined): () => void {
  let steps = 0;
  return () => {
    steps++;
    if (steps === killedBefore) process.kill(process.pid, "SIGKILL");
  };
}

/** All files and devices are written through this one class of Node's. */
async function countFileWrites(step: () => void): Promise<void> {
  await using handle = await open("/dev/null");
  const methods = Object.getPrototypeOf(handle) as Record<"write" | "sync", (...args: unknown[]) => unknown>;
  for (const name of ["write", "sync"] as const) {
    const original = methods[name];
    methods[name] = function (...args) {
      step();
      return original.apply(this, args);
    };
  }
}

console.log(await main(JSON.parse(process.argv[2] ?? "") as FormatOrder));
