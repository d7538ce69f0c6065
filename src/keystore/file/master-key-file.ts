import { join } from "node:path";
import { LuksmithError } from "../../error/luksmith-error.js";
import { createFile, replaceFile } from "../../fs/atomic-file.js";
import { PRIVATE_FILE, readGuardedFile, statGuarded } from "../../fs/guarded-file.js";
import type { StoredMasterKey } from "../../generated/master-key.js";
import type { MasterKeyRecovery } from "../../generated/master-key-recovery.js";
import isRecovery from "../../generated/validate-master-key-recovery.cjs";
import isStoredMasterKey from "../../generated/validate-master-key.cjs";

const LIMIT = 64 * 1024;

/** `master-key.json`: its form and its bytes, whatever its protector makes of them. Throws Node's system errors. */
export class MasterKeyFile {
  readonly path: string;

  constructor(directory: string) {
    this.path = join(directory, "master-key.json");
  }

  /** Changes whenever the file does; undefined if there is none. @throws PERMISSIONS_UNSAFE */
  stamp(): string | undefined {
    const stats = statGuarded(this.path, PRIVATE_FILE);
    return stats && `${stats.ino} ${stats.size} ${stats.ctimeMs}`;
  }

  /** Undefined if there is none. @throws MASTER_KEY_UNUSABLE, PERMISSIONS_UNSAFE */
  read(): StoredMasterKey | undefined {
    const value = this.#readJson();
    if (value === undefined) return undefined;
    // neither the parser's nor the validator's words, which may quote the key
    if (!isStoredMasterKey(value)) throw this.unusable("it is damaged, or made by a newer luksmith");
    return value as StoredMasterKey;
  }

  /** The recovery form, also of a file whose protector's form is damaged; undefined if there is none that is sound. */
  readRecovery(): MasterKeyRecovery | undefined {
    const value = this.#readJson();
    const recovery =
      typeof value === "object" && value !== null && "recovery" in value ? value.recovery : undefined;
    return isRecovery(recovery) ? (recovery as MasterKeyRecovery) : undefined;
  }

  create(stored: StoredMasterKey): "created" | "exists" {
    // another process may have sealed a record under it at once
    return createFile(this.path, this.#bytesOf(stored), PRIVATE_FILE.mode, "keep");
  }

  /** The old file or the new one is there, whole, whatever happens meanwhile. */
  replace(stored: StoredMasterKey): void {
    replaceFile(this.path, this.#bytesOf(stored), PRIVATE_FILE.mode);
  }

  unusable(why: string): LuksmithError {
    return new LuksmithError("MASTER_KEY_UNUSABLE", {
      what: `the master key ${this.path} cannot be used`,
      why,
      hint: "bring the file back from a backup, or restore it with its recovery passphrase: no other key opens the records",
    });
  }

  /** What `read` would refuse is never written. */
  #bytesOf(stored: StoredMasterKey): Buffer {
    const bytes = Buffer.from(`${JSON.stringify(stored)}\n`);
    if (isStoredMasterKey(JSON.parse(bytes.toString())) && bytes.length <= LIMIT) return bytes;
    throw this.unusable(
      `protector ${stored.protector} made a form that luksmith does not know; nothing was written`,
    );
  }

  /** What is not JSON is null. */
  #readJson(): unknown {
    const bytes = readGuardedFile(this.path, PRIVATE_FILE, LIMIT);
    if (bytes === undefined) return undefined;
    try {
      return JSON.parse(bytes.toString("utf8"));
    } catch {
      return null;
    } finally {
      bytes.fill(0);
    }
  }
}
