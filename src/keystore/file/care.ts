import { statSync } from "node:fs";
import { resolve } from "node:path";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import type { MountTables } from "../../fs/missing-mount.js";
import type { StoredMasterKey } from "../../generated/master-key.js";
import type { Secret } from "../../secret/secret.js";
import { VolumeLocks } from "../../storage/volume-lock.js";
import { Custody } from "./custody.js";
import { reading, writing } from "./failures.js";
import type { FileKeystorePlace } from "./file-keystore.js";
import { MasterKeyFile } from "./master-key-file.js";
import type { ProtectorType } from "./protector.js";
import { newRecoveryPassphrase } from "./recovery-passphrase.js";
import { openRecovery, wrapForRecovery } from "./recovery.js";
import { RecordDirectory } from "./record-directory.js";
import { masterKeyIdOf, parse } from "./stored-key.js";

export type Manner = "apply" | "dry-run";

export interface Change {
  /** Protector that kept the key; undefined where its form is damaged. */
  readonly from: ProtectorType | undefined;
  readonly to: ProtectorType;
}

/** Seconds that a command waits for another one; each takes a few at most. */
const PATIENCE = 30;

/**
 * What an administrator does to the master key of a file keystore. The key stays the same, so no record is touched:
 * each change replaces one file, which is the old one or the new one at any moment, after the new form has been
 * opened and compared. Hooks may run meanwhile; other changes wait.
 */
export class KeystoreCare {
  readonly #place: FileKeystorePlace;
  readonly #to: ProtectorType;
  readonly #file: MasterKeyFile;
  readonly #custody: Custody;
  readonly #records: RecordDirectory;
  readonly #locks: VolumeLocks;

  constructor(place: FileKeystorePlace, runner: CommandRunner, lockDirectory?: string, mounts?: MountTables) {
    const { directory, protector = { type: "file" } } = place;
    this.#place = place;
    this.#to = protector.type;
    this.#file = new MasterKeyFile(directory);
    this.#custody = new Custody(this.#file, protector, { runner, directory });
    this.#records = new RecordDirectory(directory, mounts);
    this.#locks = new VolumeLocks(runner, lockDirectory, PATIENCE);
  }

  /** Puts the master key under the settings' protector. @throws as Protector's methods; KEYSTORE_WRITE_FAILED */
  reprotect(manner: Manner): Promise<Change> {
    return this.#change(async () => {
      const stored = await this.#stored();
      using masterKey = await this.#custody.unprotect(stored);
      if (manner === "apply") await this.#replace(masterKey, stored);
      return { from: stored.protector, to: this.#to };
    });
  }

  /**
   * Makes a recovery passphrase. It is shown before it counts: one that nobody saw must not replace one that somebody
   * keeps.
   * @param show prints it, once; throws if it cannot
   * @throws RECOVERY_EXISTS unless `existing` may be replaced
   */
  createRecovery(
    { manner, existing }: { readonly manner: Manner; readonly existing: "keep" | "replace" },
    show: (passphrase: Secret) => Promise<void>,
  ): Promise<void> {
    return this.#change(async () => {
      const stored = await this.#stored();
      if (stored.recovery !== undefined && existing === "keep") {
        throw new LuksmithError("RECOVERY_EXISTS", {
          what: `keystore ${this.#place.name} has a recovery passphrase already`,
          why: `it was made at ${stored.recovery.createdAt}, and a new one would make it worthless`,
          hint: "with --replace a new one takes its place",
        });
      }
      using masterKey = await this.#custody.unprotect(stored);
      this.#checkRecords(masterKeyIdOf(masterKey));
      if (manner === "dry-run") return;
      using passphrase = newRecoveryPassphrase();
      const recovery = await wrapForRecovery(masterKey, passphrase, new Date());
      using reopened = await openRecovery(recovery, passphrase);
      if (!reopened?.equals(masterKey)) throw this.#file.unusable("its recovery form gives back another key");
      await show(passphrase);
      this.#write({ ...stored, recovery });
    });
  }

  /** Makes the recovery passphrase worthless for this file, not for older copies of it. Whether there was one. */
  removeRecovery(manner: Manner): Promise<boolean> {
    return this.#change(async () => {
      const { recovery, ...stored } = await this.#stored();
      if (recovery !== undefined && manner === "apply") this.#write(stored);
      return recovery !== undefined;
    });
  }

  /**
   * Opens the recovery form, and puts the master key under the settings' protector, whatever became of the one before.
   * @throws RECOVERY_REJECTED; as Protector.protect
   */
  restore(passphrase: Secret, manner: Manner): Promise<Change> {
    return this.#change(async () => {
      const recovery = await this.#reading(() => this.#file.readRecovery());
      if (recovery === undefined) {
        throw this.#rejected(
          "it has no recovery form, or a damaged one",
          "bring master-key.json back from a backup",
        );
      }
      using masterKey = await openRecovery(recovery, passphrase);
      if (masterKey === undefined) {
        throw this.#rejected(
          "the recovery passphrase is not the one of this file, or its recovery form was changed",
          `the one to look for was made at ${recovery.createdAt}`,
        );
      }
      this.#checkRecords(masterKeyIdOf(masterKey));
      if (manner === "apply") await this.#replace(masterKey, { recovery });
      return { from: this.#formerProtector(), to: this.#to };
    });
  }

  /** Writes `masterKey` under the settings' protector, once that has given it back. */
  async #replace(masterKey: Secret, { recovery }: Pick<StoredMasterKey, "recovery">): Promise<void> {
    const stored = await this.#custody.protectForSure(masterKey);
    this.#write(recovery === undefined ? stored : { ...stored, recovery });
  }

  #write(stored: StoredMasterKey): void {
    this.#records.prepare();
    this.#file.replace(stored);
  }

  async #change<T>(work: () => Promise<T>): Promise<T> {
    const identity = await this.#reading(() => {
      this.#records.requireMounted();
      return identityOf(this.#place.directory);
    });
    return await this.#locks.hold(identity, () =>
      writing(`cannot change the master key ${this.#file.path}`, work),
    );
  }

  async #stored(): Promise<StoredMasterKey> {
    const stored = await this.#reading(() => this.#file.read());
    if (stored !== undefined) return stored;
    if (this.#records.uuids().length > 0) throw this.#file.unusable("there are keys, and it is not there");
    throw new LuksmithError("KEY_NOT_FOUND", {
      what: `keystore ${this.#place.name} has no master key yet`,
      why: "the first key that is stored makes it, under the protector of the settings",
    });
  }

  #formerProtector(): ProtectorType | undefined {
    try {
      return this.#file.read()?.protector;
    } catch {
      return undefined;
    }
  }

  /** @throws MASTER_KEY_UNUSABLE if the records are under another master key; a damaged record says nothing */
  #checkRecords(masterKeyId: string): void {
    for (const uuid of this.#records.uuids()) {
      const bytes = this.#records.read(uuid);
      const parsed = bytes && parse(bytes, uuid);
      if (parsed?.kind !== "key") continue;
      if (parsed.stored.masterKey === masterKeyId) return;
      throw this.#file.unusable("it is another one than the keys are encrypted under");
    }
  }

  #reading<T>(work: () => T): Promise<T> {
    return reading(`cannot read the master key ${this.#file.path}`, work);
  }

  #rejected(why: string, hint: string): LuksmithError {
    return new LuksmithError("RECOVERY_REJECTED", {
      what: `cannot restore the master key ${this.#file.path}`,
      why,
      hint,
    });
  }
}

/** The same for every path that leads to the directory. */
function identityOf(directory: string): string {
  const stats = statSync(directory, { throwIfNoEntry: false });
  return stats === undefined ? `keystore ${resolve(directory)}` : `keystore ${stats.dev} ${stats.ino}`;
}
