import { accessSync, constants, existsSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { PRIVATE_DIRECTORY, statGuarded } from "../fs/guarded-file.js";
import { ifThere } from "../fs/if-there.js";
import { missingMount } from "../fs/missing-mount.js";
import { writing } from "../keystore/file/failures.js";
import { requireReach } from "../keystore/file/reach.js";
import type { KeystoreSettings, SettingsOf } from "../keystore/index.js";
import type { PinTrial, TokenKeystore, TriedPins } from "./settings-test-pins.js";

/** A keystore that is to be tried, and where. */
export interface Staged {
  readonly keystore: KeystoreSettings;
  /** What must hold besides, for a keystore that is not tried in its own place. @throws why it could not be made there */
  readonly check: () => Promise<void>;
  /** When its trial is over. */
  readonly settle: () => void;
}

/** A keystore that is tried as it is. */
export function inPlace(keystore: KeystoreSettings): Staged {
  return { keystore, check: () => Promise.resolve(), settle: () => undefined };
}

/**
 * A file keystore that is not there yet would be made by its test, with a master key that stays. So it is tried below
 * `scratch`, which shows that its protector works; and its own place is looked at. All others are tried as they are.
 */
export function stageKeystore(keystore: KeystoreSettings, scratch: string): Staged {
  if (keystore.type !== "file" || isThere(keystore.directory)) return inPlace(keystore);
  const staged = { ...keystore, directory: join(scratch, `keystore-${keystore.name}`) };
  return { ...inPlace(staged), check: () => requireMakeable(keystore) };
}

/** Or ought to be: what is wrong with an empty mount point, its test says. */
function isThere(directory: string): boolean {
  if (missingMount(directory) !== undefined || existsSync(join(directory, "master-key.json"))) return true;
  return (ifThere(() => readdirSync(join(directory, "records"))) ?? []).length > 0;
}

/** @throws PERMISSIONS_UNSAFE, PROTECTOR_DIFFERS, KEYSTORE_WRITE_FAILED */
async function requireMakeable({ directory, protector }: SettingsOf<"file">): Promise<void> {
  requireReach(directory, protector.type);
  await writing(`cannot make the keystore ${directory}`, () => {
    statGuarded(directory, PRIVATE_DIRECTORY);
    // root may write everywhere, but for file systems that are read-only
    accessSync(nearest(directory), constants.W_OK);
  });
}

/** Itself, or the innermost directory above it that exists. */
function nearest(directory: string): string {
  return existsSync(directory) ? directory : nearest(dirname(directory));
}

/** The keystore, if it is under a token and what its logins leave is below `scratch`, or about a file there. */
export function forgetsPin(keystore: KeystoreSettings, scratch: string): keystore is TokenKeystore {
  if (keystore.type !== "file" || keystore.protector.type !== "pkcs11") return false;
  return [keystore.directory, keystore.protector.pinFile].some((path) => path.startsWith(`${scratch}/`));
}

/** The same, but for a PIN that a trial before gave in vain. */
export function guardPin(staged: Staged, keystore: TokenKeystore, tried: TriedPins): Staged {
  let trial: PinTrial | undefined;
  return {
    keystore,
    check: async () => {
      await staged.check();
      trial = await tried.begin(keystore);
    },
    settle: () => trial?.[Symbol.dispose](),
  };
}
