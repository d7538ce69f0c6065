import { createHash } from "node:crypto";
import { closeSync, constants, openSync } from "node:fs";
import { join } from "node:path";
import { LuksmithError } from "../../../error/luksmith-error.js";
import { createFile } from "../../../fs/atomic-file.js";
import { PRIVATE_FILE, readGuardedFile, statGuarded } from "../../../fs/guarded-file.js";
import { systemErrorOf } from "../../../fs/system-error.js";
import { openMemoryFile } from "../../../secret/secret-file.js";
import { Secret } from "../../../secret/secret.js";
import { pinMemory, type PinState } from "./pin-memory.js";

const LIMIT = 256;

/** One login. Disposing wipes the PIN and closes the memory. */
interface PinAttempt extends Disposable {
  readonly pin: Secret;
  /** Tells the file that was read from what it is after any change. */
  readonly stamp: string;
  /** An open file in which whoever logs in says what becomes of it (pin-memory.ts). */
  readonly memory: number;
}

/**
 * The file with a token's PIN, and the memory of what became of it: tokens count wrong PINs and lock themselves after
 * a few, and every start of a guest would try again. A PIN that was rejected, or whose answer was lost, is not used
 * until its file changes; `touch` is a change. The memory is a file in the keystore's directory, since the token's
 * counter outlives a reboot as well.
 */
export class PinFile {
  readonly #path: string;
  readonly #memory: string;

  constructor(path: string, token: string, keystoreDirectory: string) {
    this.#path = path;
    this.#memory = pinMemoryPath(keystoreDirectory, token, path);
  }

  /**
   * Under the token's lock, and only one at a time.
   * @throws PIN_REJECTED, PERMISSIONS_UNSAFE, PROTECTOR_UNAVAILABLE
   */
  attempt(): PinAttempt {
    const { pin, stamp } = this.#read();
    try {
      const { fd, close } = this.#openMemory(stamp);
      return {
        pin,
        stamp,
        memory: fd,
        [Symbol.dispose]() {
          pin.dispose();
          close();
        },
      };
    } catch (thrown) {
      pin.dispose();
      throw thrown;
    }
  }

  #read(): Pick<PinAttempt, "pin" | "stamp"> {
    const stamp = this.#stamp();
    const bytes = this.#orUnavailable(() => readGuardedFile(this.#path, PRIVATE_FILE, LIMIT));
    if (stamp === undefined || bytes === undefined) throw this.#missing("there is no such file");
    // the stamp must be the one of these bytes
    if (this.#stamp() !== stamp) {
      bytes.fill(0);
      return this.#read();
    }
    const end = bytes.findLastIndex((byte) => byte !== 0x0a && byte !== 0x0d) + 1;
    if (end === 0) throw this.#missing("it is empty");
    // in a buffer of its own: the rest is no part of the secret
    const pin = Buffer.from(bytes.subarray(0, end));
    bytes.fill(0);
    return { pin: Secret.own(pin), stamp };
  }

  #openMemory(stamp: string): { readonly fd: number; readonly close: () => void } {
    const state = this.#state(stamp);
    if (state === "trying" || state === "rejected") throw this.#notAgain(state);
    try {
      // what is there is written over, which a full disk allows
      if (statGuarded(this.#memory, PRIVATE_FILE) === undefined)
        createFile(this.#memory, Buffer.from(pinMemory("none", stamp)), PRIVATE_FILE.mode);
      const fd = openSync(this.#memory, constants.O_WRONLY | constants.O_NOFOLLOW);
      return { fd, close: () => closeSync(fd) };
    } catch (thrown) {
      const failure = systemErrorOf(thrown);
      if (failure === undefined) throw thrown;
      // guests start on a read-only disk too, with a PIN that was right the last time
      if (state === "accepted") return closing(openMemoryFile());
      throw new LuksmithError("PROTECTOR_UNAVAILABLE", {
        what: `the PIN in ${this.#path} is not tried`,
        why: `what becomes of it cannot be remembered: ${failure.text}`,
        hint: `see whether ${this.#memory} can be written: wrong PINs lock a token`,
      });
    }
  }

  #state(stamp: string): PinState {
    const said = readGuardedFile(this.#memory, PRIVATE_FILE, LIMIT)?.toString("latin1");
    const states = ["trying", "rejected", "accepted"] as const;
    return states.find((state) => said === pinMemory(state, stamp)) ?? "none";
  }

  #stamp(): string | undefined {
    const stats = this.#orUnavailable(() => statGuarded(this.#path, PRIVATE_FILE));
    return stats && `${stats.dev} ${stats.ino} ${stats.size} ${stats.ctimeMs}`;
  }

  #notAgain(state: "trying" | "rejected"): LuksmithError {
    return new LuksmithError("PIN_REJECTED", {
      what: `the PIN in ${this.#path} is not tried again`,
      why:
        state === "rejected"
          ? "the token rejected it before, and wrong PINs lock a token"
          : "the token's answer to it was lost, and wrong PINs lock a token",
      hint: `write the right PIN to the file; if it is right after all: touch ${this.#path}`,
    });
  }

  #orUnavailable<T>(read: () => T): T {
    try {
      return read();
    } catch (thrown) {
      const failure = systemErrorOf(thrown);
      throw failure === undefined ? thrown : this.#missing(failure.text);
    }
  }

  #missing(why: string): LuksmithError {
    return new LuksmithError("PROTECTOR_UNAVAILABLE", {
      what: `cannot read the token's PIN from ${this.#path}`,
      why,
      hint: `install -m 600 /dev/stdin ${this.#path}`,
    });
  }
}

/** The file that remembers what became of the PIN in the file `path`. */
export function pinMemoryPath(keystoreDirectory: string, token: string, path: string): string {
  // what one token said of a PIN says nothing about another
  const name = createHash("sha256").update(`${token}\0${path}`).digest("hex").slice(0, 16);
  return join(keystoreDirectory, `pin-${name}`);
}

function closing(file: Disposable & { readonly fd: number }) {
  return { fd: file.fd, close: () => file[Symbol.dispose]() };
}
