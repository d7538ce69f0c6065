import { readFileSync } from "node:fs";
import { renderError } from "../../src/error/luksmith-error.js";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import { parseKeyUuid } from "../../src/keystore/key-uuid.js";
import { Secret } from "../../src/secret/secret.js";
import { type ImageFormat, makeBackend, SPEC } from "./workshop.js";

/**
 * createEncrypted in a process of its own, to be killed or to be given errors by strace. Prints the code of the error.
 * Usage: format-process.ts FORMAT PATH UUID PASSPHRASE-FILE LOCK-DIRECTORY
 */
const [format, path, uuidText, passphraseFile, lockDirectory] = process.argv.slice(2);
...
