import { randomFillSync } from "node:crypto";
import { join } from "node:path";
import { LuksmithError } from "../../error/luksmith-error.js";
import { createFile } from "../../fs/atomic-file.js";
import { PRIVATE_FILE, readGuardedFile, statGuarded } from "../../fs/guarded-file.js";
import type { StoredMasterKey } from "../../generated/master-key.js";
import isStoredMasterKey from "../../generated/validate-master-key.cjs";
import { Secret } from "../../secret/secret.js";
import { MASTER_KEY_BYTES, type Protector } from "./protector.js";
import { rootOnlyFile } from "./root-only-file.js";

const PROTECTORS = {
  file: rootOnlyFile,
} satisfies Record<StoredMasterKey["protector"], Protector>;

/** For new keystores. */
const DEFAULT_PROTECTOR = rootOnlyFile;
const LIMIT = 64 * 1024;

/** The key that every record of a file keystore is encrypted under, in `master-key.json`. */
export class MasterKey {
  readonly path: string;
  /** Unprotected once and kept while the file stays as it was: a protector may be slow, and a guest have many disks. */
  #loaded: { readonly stamp: string; readonly key: Promise<Secret> } | undefined;

  constructor(directory: string) {
    this.path = join(directory, "master-key.json");
  }

  /**
   * The master key, which stays this object's: the caller does not dispose of it. Undefined if there is no file.
   * @throws MASTER_KEY_UNUSABLE, PERMISSIONS_UNSAFE, system errors
   */
  async read(): Promise<Secret | undefined> {
    const stats = statGuarded(this.path, PRIVATE_FILE);
    if (stats === undefined) return undefined;
    const stamp = `${stats.ino} ${stats.size} ${stats.ctimeMs}`;
    if (this.#loaded?.stamp !== stamp) this.#loaded = { stamp, key: this.#load() };
    try {
      return await this.#loaded.key;
    } catch (thrown) {
      // a protector that is not there now may be there for the next call
      this.#loaded = undefined;
      throw thrown;
    }
  }

  /** Makes the master key. Of several processes that do so at once, one wins, and all go on with its key. */
  async make(): Promise<void> {
    using key = Secret.own(randomFillSync(Buffer.alloc(MASTER_KEY_BYTES)));
    const stored = await DEFAULT_PROTECTOR.protect(key);
    createFile(this.path, Buffer.from(`${JSON.stringify(stored)}\n`), PRIVATE_FILE.mode);
  }

  /** The error for a keystore with keys and without the only thing that opens them. */
  missing(): LuksmithError {
    return this.#unusable("there are keys, and it is not there");
  }

  /** The error for a master key that is sound, but not the one of these keys. */
  isAnother(): LuksmithError {
    return this.#unusable("it is another one than the keys are encrypted under");
  }

  async #load(): Promise<Secret> {
    const bytes = readGuardedFile(this.path, PRIVATE_FILE, LIMIT);
    if (bytes === undefined) throw this.missing();
    const stored = this.#parse(bytes);
    bytes.fill(0);
    return await PROTECTORS[stored.protector].unprotect(stored);
  }

  #parse(bytes: Buffer): StoredMasterKey {
    const value = parseJson(bytes);
    // neither the parser's nor the validator's words, which may quote the key
    if (!isStoredMasterKey(value)) throw this.#unusable("it is damaged, or made by a newer luksmith");
    return value as StoredMasterKey;
  }

  #unusable(why: string): LuksmithError {
    return new LuksmithError("MASTER_KEY_UNUSABLE", {
      what: `the master key ${this.path} cannot be used`,
      why,
      hint: "bring the file back from a backup: no other key opens the records",
    });
  }
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    return undefined;
  }
}
