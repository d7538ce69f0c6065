import { randomFillSync } from "node:crypto";
import { dirname } from "node:path";
import type { LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import { ExecaCommandRunner } from "../../exec/command-runner.js";
import { Secret } from "../../secret/secret.js";
import { Custody } from "./custody.js";
import { MasterKeyFile } from "./master-key-file.js";
import { MASTER_KEY_BYTES, type ProtectorSettings } from "./protector.js";
import { requireReach } from "./reach.js";

/** Who keeps a new master key, and what he works with. */
export interface Protection {
  readonly settings: ProtectorSettings;
  readonly runner: CommandRunner;
}

const IN_CLEAR: Protection = { settings: { type: "file" }, runner: new ExecaCommandRunner() };

/** The key that every record of a file keystore is encrypted under. */
export class MasterKey {
  readonly #file: MasterKeyFile;
  readonly #custody: Custody;
  /** Unprotected once and kept while the file stays as it was: a protector may be slow, and a guest have many disks. */
  #loaded: { readonly stamp: string; readonly key: Promise<Secret> } | undefined;
  #making: Promise<void> | undefined;

  constructor(directory: string, { settings, runner }: Protection = IN_CLEAR) {
    this.#file = new MasterKeyFile(directory);
    this.#custody = new Custody(this.#file, settings, { runner, directory });
  }

  get path(): string {
    return this.#file.path;
  }

  /**
   * The master key, which stays this object's: the caller does not dispose of it. Undefined if there is no file.
   * @throws MASTER_KEY_UNUSABLE, PERMISSIONS_UNSAFE, PROTECTOR_UNAVAILABLE, PIN_REJECTED, TOOL_MISSING, system errors
   */
  async read(): Promise<Secret | undefined> {
    const stamp = this.#file.stamp();
    if (stamp === undefined) return undefined;
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
    // disks of one guest ask at once, and a TPM does one thing at a time
    this.#making ??= this.#make().finally(() => (this.#making = undefined));
    await this.#making;
  }

  async #make(): Promise<void> {
    if (this.#file.stamp() !== undefined) return;
    using key = Secret.own(randomFillSync(Buffer.alloc(MASTER_KEY_BYTES)));
    this.#file.create(await this.#custody.protectForSure(key));
  }

  /**
   * Whether the settings want another protector than the one that keeps the key, which goes on serving, and whether
   * that one serves all who see the keystore.
   * @param cluster mount point of the cluster's file system
   * @throws PROTECTOR_DIFFERS
   */
  checkProtector(cluster?: string): void {
    const stored = this.#file.read();
    if (stored === undefined) return;
    this.#custody.check(stored);
    requireReach(dirname(this.path), stored.protector, cluster);
  }

  /** The error for a keystore with keys and without the only thing that opens them. */
  missing(): LuksmithError {
    return this.#file.unusable("there are keys, and it is not there");
  }

  /** The error for a master key that is sound, but not the one of these keys. */
  isAnother(): LuksmithError {
    return this.#file.unusable("it is another one than the keys are encrypted under");
  }

  async #load(): Promise<Secret> {
    const stored = this.#file.read();
    if (stored === undefined) throw this.missing();
    return await this.#custody.unprotect(stored);
  }
}
