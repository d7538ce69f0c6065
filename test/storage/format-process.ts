import { readFileSync } from "node:fs";
import { asLuksmithError } from "../../src/error/luksmith-error.js";
import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import { parseKeyUuid } from "../../src/keystore/key-uuid.js";
import { Secret } from "../../src/secret/secret.js";
import { makeBackend, SPEC } from "./workshop.js";

/**
 * createEncrypted in a process of its own, for strace to kill and to break. Prints `done` or the error's code.
 * Usage: format-process.ts FORMAT PATH UUID PASSPHRASE-FILE LOCK-DIRECTORY
 */
async function main([
  format,
  path = "",
  uuidText = "",
  passphraseFile = "",
  locks = "",
]: string[]): Promise<string> {
  const uuid = parseKeyUuid(uuidText);
  if (uuid === undefined || (format !== "raw" && format !== "qcow2")) throw new Error("wrong usage");
  using passphrase = Secret.own(readFileSync(passphraseFile));
  const backend = makeBackend(format, new ExecaCommandRunner(), locks);
  try {
    await backend.createEncrypted({ volume: { kind: "file", path, format }, uuid, spec: SPEC, passphrase });
    return "done";
  } catch (thrown) {
    return asLuksmithError(thrown).code;
  }
}

console.log(await main(process.argv.slice(2)));
