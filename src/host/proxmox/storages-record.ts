import { closeSync, constants, openSync } from "node:fs";
import { dirname } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import { makeDirectory, replaceFile } from "../../fs/atomic-file.js";
import { lockDescriptor } from "../../fs/file-lock.js";
import { PUBLIC_FILE } from "../../fs/guarded-file.js";
import { removeLeftovers } from "../../fs/leftovers.js";
import { systemErrorOf } from "../../fs/system-error.js";
import { hintForRefusal } from "../../fs/write-refusal.js";
import type { ProxmoxStorage } from "../../generated/proxmox-storage.js";
import type { ProxmoxStorages } from "../../generated/proxmox-storages.js";
import type { ProxmoxPlaces } from "./places.js";
import { readStoragesRecord } from "./read-storages-record.js";

const DIRECTORY_MODE = 0o755;
/** Seconds; another change takes milliseconds. */
const PATIENCE = 10;

type Places = Pick<ProxmoxPlaces, "storagesRecord">;

/**
 * Writes a storage into our record, in the place of what the record has under its ID; what is there already is not
 * written again. Proxmox VE lets one node at a time change its storages, and calls this while it does.
 * @throws SETTINGS_INVALID (a damaged record), SETTINGS_UNWRITABLE, LOCK_TIMEOUT: the record is as it was
 */
export async function recordStorage(
  storage: ProxmoxStorage,
  places: Places,
  runner: CommandRunner,
): Promise<void> {
  await change(places, runner, (storages) => {
    const others = storages.filter(({ id }) => id !== storage.id);
    return [...others, storage].sort((a, b) => (a.id < b.id ? -1 : 1));
  });
}

/** Takes a storage out of the record, if it is there. @throws as `recordStorage` */
export async function forgetStorage(id: string, places: Places, runner: CommandRunner): Promise<void> {
  await change(places, runner, (storages) => storages.filter((storage) => storage.id !== id));
}

async function change(
  places: Places,
  runner: CommandRunner,
  changed: (storages: readonly ProxmoxStorage[]) => ProxmoxStorage[],
): Promise<void> {
  const { storagesRecord: path } = places;
  // what changes nothing needs neither a lock nor a quorum
  const known = readStoragesRecord(places);
  const storages = known.kind === "known" ? known.storages : [];
  if (known.kind !== "damaged" && isDeepStrictEqual(storages, changed(storages))) return;
  try {
    makeDirectory(dirname(path), DIRECTORY_MODE);
    // the directory is locked, since the file itself is replaced
    using directory = openDirectory(dirname(path));
    await lock(directory.fd, path, runner);
    const before = read(places);
    const after = changed(before);
    if (isDeepStrictEqual(before, after)) return;
    removeLeftovers(dirname(path));
    const record: ProxmoxStorages = { version: 1, storages: after };
    replaceFile(path, Buffer.from(`${JSON.stringify(record, undefined, 2)}\n`), PUBLIC_FILE.mode);
  } catch (thrown) {
    const failure = systemErrorOf(thrown);
    if (failure === undefined) throw thrown;
    throw new LuksmithError("SETTINGS_UNWRITABLE", {
      what: `cannot write the record of encrypted storages to ${path}`,
      why: failure.text,
      ...hintForRefusal(failure),
      cause: thrown,
    });
  }
}

/** @throws SETTINGS_INVALID: what cannot be read is not replaced, since others are recorded there */
function read(places: Places): readonly ProxmoxStorage[] {
  const record = readStoragesRecord(places);
  switch (record.kind) {
    case "known":
      return record.storages;
    case "absent":
      return [];
    case "damaged":
      throw new LuksmithError("SETTINGS_INVALID", {
        what: `the record of encrypted storages in ${record.path} cannot be read`,
        why: record.why,
        hint: "move that file away, and have each encrypted storage recorded anew: pvesm set STORAGE --content images",
      });
  }
}

function openDirectory(path: string): Disposable & { readonly fd: number } {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  return { fd, [Symbol.dispose]: () => closeSync(fd) };
}

async function lock(fd: number, path: string, runner: CommandRunner): Promise<void> {
  if ((await lockDescriptor(fd, { runner, patience: PATIENCE })) === "locked") return;
  throw new LuksmithError("LOCK_TIMEOUT", {
    what: `cannot write the record of encrypted storages to ${path}`,
    why: `another luksmith process is working on it, and did not finish within ${PATIENCE} s`,
    hint: "try again when it has finished",
  });
}
