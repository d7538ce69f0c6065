import { isDeepStrictEqual } from "node:util";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { ProxmoxStorage } from "../../generated/proxmox-storage.js";
import { addCommand, noteCommand, restoreCommand } from "./pvesm.js";
import { showsBase } from "./plain-place.js";
import { type ConfiguredStorage, STORAGE_TYPE, type StorageConfig } from "./storage-config.js";

/** Our own record of the encrypted storages, as far as it can be read. */
export type StoragesRecord =
  | { readonly kind: "known"; readonly storages: readonly ProxmoxStorage[] }
  /** No storage was ever recorded. */
  | { readonly kind: "absent" }
  | { readonly kind: "damaged"; readonly path: string; readonly why: string };

/** What is wrong between /etc/pve/storage.cfg and our record. */
export interface StorageFinding {
  readonly storage: string;
  /**
   * `stripped`: a node without the plugin has removed the section. `replaced`: it is of another type now. `changed`: its
   * volumes are elsewhere. `not-recorded`: nobody would notice if one of these happened.
   */
  readonly kind: "stripped" | "replaced" | "changed" | "not-recorded";
  readonly why: string;
  /** The command that puts it right. */
  readonly hint: string;
}

/** Pure. A record that is not there or damaged knows nothing about any storage: `refuseDamagedRecord` is for that. */
export function storageFindings(storages: StorageConfig, record: StoragesRecord): StorageFinding[] {
  const recorded = record.kind === "known" ? record.storages : [];
  const lost = recorded.flatMap((was) => lostStorage(was, storages.get(was.id)) ?? []);
  const known = new Set(recorded.map(({ id }) => id));
  const unknown = [...storages.values()].filter(({ id, type }) => type === STORAGE_TYPE && !known.has(id));
  return [...lost, ...unknown.map(notRecorded)];
}

function lostStorage(was: ProxmoxStorage, now: ConfiguredStorage | undefined): StorageFinding | undefined {
  const { id: storage } = was;
  if (now === undefined) {
    const why = `storage ${storage} is encrypted, and its section is gone from /etc/pve/storage.cfg, as a node without the plugin removes it`;
    return { storage, kind: "stripped", why, hint: `put it back: ${addCommand(was)}` };
  }
  if (now.type !== STORAGE_TYPE) {
    const why = `storage ${storage} is encrypted, and its section in /etc/pve/storage.cfg is of type ${now.type} now`;
    return { storage, kind: "replaced", why, hint: `put it back: ${restoreCommand(was)}` };
  }
  if (isDeepStrictEqual(now.encrypted?.base, was.base)) return undefined;
  const reason =
    now.problem ?? "its section in /etc/pve/storage.cfg names another base than when it was set up";
  const why = `storage ${storage}: ${reason}`;
  return {
    ...{ storage, kind: "changed", why },
    hint: `put it back: ${restoreCommand(was)}; if you changed it yourself: ${noteCommand(now)}`,
  };
}

function notRecorded(now: ConfiguredStorage): StorageFinding {
  const { id: storage } = now;
  const why = `storage ${storage} is not in Luksmith's own record: nobody would notice if its section were lost`;
  return { storage, kind: "not-recorded", why, hint: `have it recorded: ${noteCommand(now)}` };
}

/** A storage that gives guests ciphertext of an encrypted one as plain disks. */
interface SharedBase {
  readonly storage: string;
  /** The encrypted storage. */
  readonly encrypted: string;
}

/** As they are in /etc/pve/storage.cfg, and as they were recorded: a section can be lost, its volumes are not. Pure. */
export function sharedBases(storages: StorageConfig, record: StoragesRecord): SharedBase[] {
  const recorded = record.kind === "known" ? record.storages : [];
  const encrypted = [...[...storages.values()].flatMap((storage) => storage.encrypted ?? []), ...recorded];
  return [...storages.values()].flatMap(({ id: storage, place }) => {
    const found = place && encrypted.find(({ base }) => showsBase(place, base));
    return found === undefined ? [] : [{ storage, encrypted: found.id }];
  });
}

/** @param disk of the guest, on a storage that is not encrypted and has ciphertext among its volumes */
export function baseShared(
  { dev, vmid }: { dev: string; vmid: string },
  { storage, encrypted }: SharedBase,
): LuksmithError {
  return new LuksmithError("STORAGE_CHANGED", {
    what: `disk ${dev} is on storage ${storage}, whose volumes can be ciphertext`,
    why: `storage ${storage} does not encrypt and has the same base as encrypted storage ${encrypted}: the guest would take ciphertext for an empty disk, and overwrite it`,
    hint: `if the volume is one of storage ${encrypted}, name it so: qm set ${vmid} --${dev} ${encrypted}:VOLUME; if it is plain, encrypt it: qm disk move ${vmid} ${dev} ${encrypted} --delete 1; keep a base for encrypted volumes alone`,
  });
}

/** @param disk of the guest, on the storage that is not what it was */
export function storageChanged(disk: string, { why, hint }: StorageFinding): LuksmithError {
  return new LuksmithError("STORAGE_CHANGED", {
    what: `disk ${disk} is on storage that is not the encrypted storage that it was`,
    ...{ why, hint },
  });
}

/** @param disk of the guest, on storage that is not encrypted, or perhaps was */
export function recordDamaged(disk: string, { path, why }: { path: string; why: string }): LuksmithError {
  return new LuksmithError("STORAGE_CHANGED", {
    what: `disk ${disk} is on storage of which nobody can tell whether it was encrypted`,
    why: `Luksmith's record of the encrypted storages, ${path}, cannot be read: ${why}`,
    hint: `remove the file, then have every storage of type ${STORAGE_TYPE} recorded again: pvesm set STORAGE --content images`,
  });
}
