import { createHmac, randomBytes } from "node:crypto";
import { closeSync, constants, openSync } from "node:fs";
import { join } from "node:path";
import { LuksmithError } from "../error/luksmith-error.js";
import { shellWord } from "../error/shell-word.js";
import type { CommandRunner } from "../exec/command-runner.js";
import { createFile, makeDirectory, removeFile, replaceFile } from "../fs/atomic-file.js";
import { lockDescriptor } from "../fs/file-lock.js";
import { PRIVATE_DIRECTORY, PRIVATE_FILE, readGuardedFile, statGuarded } from "../fs/guarded-file.js";
import { systemErrorOf } from "../fs/system-error.js";
import { pinMemoryPath } from "../keystore/file/protectors/pin-file.js";
import type { SettingsOf } from "../keystore/index.js";

const KEY_BYTES = 32;
const LIMIT = 256;
/** Seconds that other trials may take. */
const PATIENCE = 30;

/** A file keystore whose master key is under a token. */
export type TokenKeystore = SettingsOf<"file"> & {
  readonly protector: Extract<SettingsOf<"file">["protector"], { readonly type: "pkcs11" }>;
};

/** A PIN that is on trial, which no other trial uses meanwhile. Disposing notes what became of it. */
export type PinTrial = Disposable;

/**
 * The PINs that trials of settings gave to tokens. What PinFile remembers goes with the file of a mere trial, and
 * each click with the same wrong PIN would bring the token nearer to locking itself. Each PIN is a file whose name is
 * an HMAC of it, under a key that goes with a reboot as well, in a directory in memory.
 */
export class TriedPins {
  readonly #directory: string;
  readonly #runner: CommandRunner;

  constructor(directory: string, runner: CommandRunner) {
    this.#directory = directory;
    this.#runner = runner;
  }

  /**
   * Notes the PIN in `pinFile` before anybody tries it; undefined if there is none.
   * @throws PIN_REJECTED if it was tried before, and not accepted; LOCK_TIMEOUT, PROTECTOR_UNAVAILABLE, PERMISSIONS_UNSAFE
   */
  async begin(keystore: TokenKeystore): Promise<PinTrial | undefined> {
    try {
      makeDirectory(this.#directory, PRIVATE_DIRECTORY.mode);
      statGuarded(this.#directory, PRIVATE_DIRECTORY);
      const note = this.#noteOf(keystore.protector);
      return note === undefined ? undefined : await this.#tryAlone(keystore, note);
    } catch (thrown) {
      const failure = systemErrorOf(thrown);
      throw failure === undefined ? thrown : notRemembered(keystore, failure.text, this.#directory);
    }
  }

  /** Two keystores may be under one token: the second waits for what becomes of the first one's PIN. */
  async #tryAlone(keystore: TokenKeystore, note: string): Promise<PinTrial> {
    const fd = openSync(this.#directory, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      if ((await lockDescriptor(fd, { runner: this.#runner, patience: PATIENCE })) === "busy") throw busy();
      if (createFile(note, Buffer.from("trying"), PRIVATE_FILE.mode) === "exists")
        throw notAgain(keystore, note);
    } catch (thrown) {
      closeSync(fd);
      throw thrown;
    }
    return {
      [Symbol.dispose]() {
        try {
          settle(keystore, note);
        } catch (thrown) {
          // `trying` stays, which keeps the PIN from being tried as well
          if (systemErrorOf(thrown) === undefined) throw thrown;
        } finally {
          closeSync(fd);
        }
      },
    };
  }

  #noteOf({ module, token, pinFile }: TokenKeystore["protector"]): string | undefined {
    const pin = readGuardedFile(pinFile, PRIVATE_FILE, LIMIT);
    if (pin === undefined) return undefined;
    const key = this.#key();
    const hmac = createHmac("sha256", key).update(`${token}\0${module}\0`);
    const end = pin.findLastIndex((byte) => byte !== 0x0a && byte !== 0x0d) + 1;
    const name = hmac.update(pin.subarray(0, end)).digest("hex");
    pin.fill(0);
    key.fill(0);
    return join(this.#directory, `pin-${name}`);
  }

  #key(): Buffer {
    const path = join(this.#directory, "key");
    const key = readGuardedFile(path, PRIVATE_FILE, KEY_BYTES);
    if (key !== undefined) return key;
    createFile(path, randomBytes(KEY_BYTES), PRIVATE_FILE.mode);
    return this.#key();
  }
}

/** Whoever logs in says there what becomes of the PIN (pin-memory.ts); nothing is said where nobody did. */
function settle({ directory, protector: { token, pinFile } }: TokenKeystore, note: string): void {
  const memory = readGuardedFile(pinMemoryPath(directory, token, pinFile), PRIVATE_FILE, LIMIT);
  const [state = "none"] = memory?.toString("latin1").split(" ") ?? [];
  if (state === "none" || state === "accepted") removeFile(note);
  else replaceFile(note, Buffer.from(state), PRIVATE_FILE.mode);
}

function notAgain({ protector: { token } }: TokenKeystore, note: string): LuksmithError {
  const state = readGuardedFile(note, PRIVATE_FILE, LIMIT)?.toString("latin1");
  return new LuksmithError("PIN_REJECTED", {
    what: `the PIN for token ${token} is not tried again`,
    why:
      state === "rejected"
        ? "the token rejected it before, and wrong PINs lock a token"
        : "the token's answer to it was lost, and wrong PINs lock a token",
    hint: `give the right PIN; if it is right after all: rm ${shellWord(note)}`,
  });
}

function notRemembered(
  { protector: { token } }: TokenKeystore,
  why: string,
  directory: string,
): LuksmithError {
  return new LuksmithError("PROTECTOR_UNAVAILABLE", {
    what: `the PIN for token ${token} is not tried`,
    why: `what becomes of it cannot be remembered: ${why}`,
    hint: `see whether ${directory} can be written: wrong PINs lock a token`,
  });
}

function busy(): LuksmithError {
  return new LuksmithError("LOCK_TIMEOUT", {
    what: "the PIN is not tried: another luksmith process is trying one",
    why: `it did not finish within ${PATIENCE} s`,
    hint: "try again when it has finished",
  });
}
