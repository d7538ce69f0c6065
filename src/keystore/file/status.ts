import { asLuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import type { MountTables } from "../../fs/missing-mount.js";
import { Custody } from "./custody.js";
import { reading } from "./failures.js";
import type { FileKeystorePlace } from "./file-keystore.js";
import { MasterKeyFile } from "./master-key-file.js";
import type { ProtectorType } from "./protector.js";
import { RecordDirectory } from "./record-directory.js";

/** What a file keystore is, without opening anything. */
export interface FileKeystoreStatus {
  readonly keys: number;
  readonly masterKey: "present" | "missing" | "unusable";
  readonly protector: {
    readonly stored?: ProtectorType;
    readonly settings: ProtectorType;
    /** Whether `reprotect` would change something. */
    readonly differs: boolean;
  };
  /** When the recovery passphrase was made. */
  readonly recovery?: string;
}

/** @throws PERMISSIONS_UNSAFE, NOT_PERMITTED, KEYSTORE_UNAVAILABLE */
export async function statusOf(
  { directory, protector = { type: "file" } }: FileKeystorePlace,
  runner: CommandRunner,
  mounts?: MountTables,
): Promise<FileKeystoreStatus> {
  const file = new MasterKeyFile(directory);
  return await reading(`cannot read the keystore ${directory}`, () => {
    const keys = new RecordDirectory(directory, mounts).uuids().length;
    const stored = readIfSound(file);
    const settings = protector.type;
    if (stored === undefined || stored === "damaged") {
      const masterKey = stored === "damaged" || keys > 0 ? "unusable" : "missing";
      const recovery = file.readRecovery();
      return { keys, masterKey, protector: { settings, differs: false }, ...madeAt(recovery) };
    }
    const differs = new Custody(file, protector, { runner, directory }).differs(stored);
    return {
      keys,
      masterKey: "present",
      protector: { stored: stored.protector, settings, differs },
      ...madeAt(stored.recovery),
    };
  });
}

function madeAt(recovery: { readonly createdAt: string } | undefined): Pick<FileKeystoreStatus, "recovery"> {
  return recovery === undefined ? {} : { recovery: recovery.createdAt };
}

function readIfSound(file: MasterKeyFile): ReturnType<MasterKeyFile["read"]> | "damaged" {
  try {
    return file.read();
  } catch (thrown) {
    if (asLuksmithError(thrown).code === "MASTER_KEY_UNUSABLE") return "damaged";
    throw thrown;
  }
}
