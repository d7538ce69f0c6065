import { join } from "node:path";
import { LuksmithError } from "../../../error/luksmith-error.js";
import { replaceFile } from "../../../fs/atomic-file.js";
import { PRIVATE_FILE, readGuardedFile, statGuarded } from "../../../fs/guarded-file.js";
import { systemErrorOf } from "../../../fs/system-error.js";
import { Secret } from "../../../secret/secret.js";

const LIMIT = 256;

/**
 * The file with a token's PIN, and the memory of one that was rejected: tokens count wrong PINs and lock themselves
 * after a few, and every start of a guest would try again. A rejected file is not used until it changes; `touch` is a
 * change. The memory is a file in the keystore's directory, since the token's counter outlives a reboot as well.
 */
export class PinFile {
  readonly #path: string;
  readonly #memory: string;

  constructor(path: string, keystoreDirectory: string) {
    this.#path = path;
    this.#memory = join(keystoreDirectory, "pin-rejected");
  }

  /** The PIN, the caller's to dispose of. @throws PIN_REJECTED, PERMISSIONS_UNSAFE, PROTECTOR_UNAVAILABLE */
  read(): Secret {
    const stamp = this.#stamp();
    const bytes = this.#orUnavailable(() => readGuardedFile(this.#path, PRIVATE_FILE, LIMIT));
    if (stamp === undefined || bytes === undefined) throw this.#missing("there is no such file");
    const rejected = readGuardedFile(this.#memory, PRIVATE_FILE, LIMIT)?.toString("latin1");
    if (rejected === stamp) {
      bytes.fill(0);
      throw new LuksmithError("PIN_REJECTED", {
        what: `the PIN in ${this.#path} is not tried again`,
        why: "the token rejected it before, and wrong PINs lock a token",
        hint: `write the right PIN to the file; if it is right after all: touch ${this.#path}`,
      });
    }
    const end = bytes.findLastIndex((byte) => byte !== 0x0a && byte !== 0x0d) + 1;
    if (end === 0) throw this.#missing("it is empty");
    // in a buffer of its own: the rest is no part of the secret
    const pin = Buffer.from(bytes.subarray(0, end));
    bytes.fill(0);
    return Secret.own(pin);
  }

  /** That the token rejected what is in the file. */
  remember(): void {
    const stamp = this.#stamp();
    if (stamp === undefined) return;
    try {
      replaceFile(this.#memory, Buffer.from(stamp), PRIVATE_FILE.mode);
    } catch (thrown) {
      // a full or read-only disk: that the PIN is wrong matters more to who reads the error
      if (systemErrorOf(thrown) === undefined) throw thrown;
    }
  }

  #stamp(): string | undefined {
    const stats = this.#orUnavailable(() => statGuarded(this.#path, PRIVATE_FILE));
    return stats && `${stats.dev} ${stats.ino} ${stats.size} ${stats.ctimeMs}`;
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
