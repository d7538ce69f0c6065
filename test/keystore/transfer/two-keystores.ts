import { join } from "node:path";
import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import type { KeyRecord } from "../../../src/generated/key-record.js";
import { createKeyring } from "../../../src/keystore/index.js";
import { canDelete, type KeyDeleter, type Keystore } from "../../../src/keystore/keystore.js";
import { KeyLocks } from "../../../src/keystore/key-locks.js";
import { GuestLocks } from "../../../src/plan/guest-locks.js";
import { parseSettings } from "../../../src/settings/load.js";
import { temporaryDirectory } from "../../fs/tree.js";
import { passphraseIn } from "../sample-key.js";

const runner = new ExecaCommandRunner();

export type Deleting = Keystore & KeyDeleter;

/** Two real keystores `a` and `b`, each in a directory of its own, and the locks of a host. */
export interface TwoKeystores {
  readonly directory: string;
  readonly a: Deleting;
  readonly b: Deleting;
  /** Another instance of `b`. */
  readonly witness: Deleting;
  readonly locks: GuestLocks;
  readonly keyLocks: KeyLocks;
}

/** For the test that is running. @param where the directories are, if not `a` and `b` */
export async function twoKeystores(where: { a?: string; b?: string } = {}): Promise<TwoKeystores> {
  const directory = temporaryDirectory();
  const get = (name: "a" | "b") => fileKeystore(name, join(directory, where[name] ?? name));
  const locks = new GuestLocks(runner, join(directory, "locks"));
  const keyLocks = new KeyLocks(runner, join(directory, "locks"));
  return { directory, a: await get("a"), b: await get("b"), witness: await get("b"), locks, keyLocks };
}

/** A file keystore as the settings make it. */
export async function fileKeystore(name: string, directory: string): Promise<Deleting> {
  const settings = { version: 1, keystores: [{ name, type: "file", directory }] };
  const parsed = parseSettings(JSON.stringify(settings), "the test's settings");
  const keystore = await createKeyring(parsed, { runner }).get(name);
  if (!canDelete(keystore)) throw new Error("a file keystore deletes");
  return keystore;
}

/** Which of the keystores have which passphrase of the key. */
export async function whereIs(record: KeyRecord, { a, b }: TwoKeystores): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const keystore of [a, b]) {
    const passphrase = await passphraseIn(keystore, record);
    if (passphrase !== undefined) found[keystore.name] = passphrase.toString();
  }
  return found;
}
