import type { AuditLog, KeyUse } from "../audit/audit-log.js";
import { digestOf } from "../audit/entry.js";
import { recordFailure } from "../audit/recorded.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { Clock } from "../event/clock.js";
import type { HeaderVault } from "../headers/header-vault.js";
import type { HostAdapter } from "../host/host-adapter.js";
import { keyUuidOf } from "../keystore/key-record.js";
import { type KeyUuid, parseKeyUuid } from "../keystore/key-uuid.js";
import type { Keyring } from "../keystore/keyring.js";
import { canDelete, type KeyDeleter, type Keystore } from "../keystore/keystore.js";
import type { StorageRegistry } from "../storage/index.js";
import { volumeName } from "../storage/volume.js";
import { damagedHeader } from "./damaged-header.js";
import { destroyHeader, requireDestroyed } from "./destroy-header.js";
import { destroyFilesOfKey, filesOfKey } from "./key-files.js";
import { nameOf, refuseChanging, refuseMovedInPlace } from "./refuse-used.js";
import type { Findings, Person, ShredNote, ShredNotes } from "./shred-notes.js";
import { requireRecordable, writeRecord } from "./shred-records.js";
import type { ShredTarget } from "./shred-target.js";

export interface ShredResources {
  readonly storage: StorageRegistry;
  readonly keyring: Keyring;
  readonly host: Pick<HostAdapter, "providedSecrets" | "withdrawSecrets">;
  readonly headers: HeaderVault;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly notes: ShredNotes;
  /** Of escrow files. */
  readonly escrow: string;
  /** Where conversions in place have a header beside the volume. */
  readonly inPlace: string;
  /** Removes this host's copies of these keys. */
  readonly clearCopies: (uuids: readonly KeyUuid[]) => void;
  /** Path of the host's signing key. */
  readonly signingKey?: string;
}

/**
 * Looks for all that can open the volume, and changes nothing.
 * @throws SHRED_REFUSED if a keystore cannot delete, or the key is being changed; KEYSTORE_UNAVAILABLE and the like if one
 *   cannot tell; VOLUME_NOT_FORMATTED, LUKS_UUID_MISMATCH if the volume's header is not the key's
 */
export async function look(target: ShredTarget, resources: ShredResources): Promise<Findings> {
  const { key, volume, guest, disk } = target;
  refuseMovedInPlace(target, resources.inPlace);
  const backend = await resources.storage.backendFor(volume);
  const probe = await backend.probe(volume, "header");
  const isWhole = probe.kind === "luks" && probe.header.uuid === key;
  const header = isWhole
    ? await backend.readHeader(volume)
    : await damagedHeader({ volume, key, probe }, resources);
  if (header === undefined) throw foreign(target);
  const keystores: string[] = [];
  const archived: string[] = [];
  for (const keystore of await resources.keyring.all()) {
    const found = await keystore.fetch(key);
    found?.passphrase.dispose();
    const former = await keystore.find({ archivedOf: key });
    if (found !== undefined) refuseChanging(target, [found.record], resources.clock.now());
    if (found === undefined && former.length === 0) continue;
    requireDeleter(keystore, target);
    if (found !== undefined) keystores.push(keystore.name);
    archived.push(...former.map(({ uuid }) => uuid));
  }
  return {
    ...{ key, volume, keystores, archived: [...new Set(archived)] },
    ...(guest && { guest }),
    ...(disk && { disk }),
    header: { length: header.length, digest: digestOf(header) },
    headerCopies: resources.headers.backups(key).length,
    escrowFiles: filesOfKey(resources.escrow, key).length,
  };
}

/**
 * Destroys all that can open the volume; the key itself last, and only when it is proven that the header is gone. Killed
 * at any step, a further call with the note of this one goes on.
 * @param persons who have agreed to what was not begun yet
 * @returns the path of the signed record @throws as destroyHeader; NOT_PERMITTED where there is no room for the record
 */
export async function shred(
  target: ShredTarget,
  found: Findings | ShredNote,
  persons: readonly Person[],
  resources: ShredResources,
): Promise<string> {
  const { audit, clock, notes, headers, host } = resources;
  const places = placesOf(resources);
  const use = useOf(target);
  try {
    audit.requireWritable();
    requireRecordable(places);
    await audit.record({ ...use, result: "done", detail: "destruction of all its keyslots begins" });
    const begun = await destroyHeader(target, found, persons, resources);
    await requireDestroyed(begun, resources);
    // from here on it is ended also where the volume is gone: there is nothing on it any more
    const note = { ...begun, destroyedAt: begun.destroyedAt ?? clock.now().toISOString() };
    notes.write(note);
    await headers.destroy(target.key);
    destroyFilesOfKey(resources.inPlace, target.key);
    destroyFilesOfKey(resources.escrow, target.key);
    for (const keystore of await resources.keyring.all()) await deleteFormer(keystore, target, resources);
    resources.clearCopies([target.key, ...archivedIn(note)]);
    await withdraw(target, host);
    await requireDestroyed(note, resources);
    for (const keystore of await resources.keyring.all()) await deleteKey(keystore, target);
    const path = writeRecord(note, clock.now(), places);
    const detail = `header ${note.header.digest.slice(0, 16)} destroyed, record ${path}`;
    await audit.record({ ...use, result: "done", detail });
    notes.remove(target.key);
    return path;
  } catch (thrown) {
    await recordFailure(audit, [use], thrown);
    throw thrown;
  }
}

async function deleteFormer(
  keystore: Keystore,
  target: ShredTarget,
  { audit }: ShredResources,
): Promise<void> {
  for (const record of await keystore.find({ archivedOf: target.key })) {
    await requireDeleter(keystore, target).delete(keyUuidOf(record));
    const detail = `former passphrase of key ${target.key}`;
    const use = { ...useOf(target), key: keyUuidOf(record), keystore: keystore.name, detail };
    await audit.record({ ...use, result: "done" });
  }
}

async function deleteKey(keystore: Keystore, target: ShredTarget): Promise<void> {
  const found = await keystore.fetch(target.key);
  found?.passphrase.dispose();
  if (found !== undefined) await requireDeleter(keystore, target).delete(target.key);
}

async function withdraw({ key }: ShredTarget, host: ShredResources["host"]): Promise<void> {
  for (const { uuid, guestId } of await host.providedSecrets())
    if (uuid === key) await host.withdrawSecrets({ id: guestId, name: guestId }, [uuid]);
}

function placesOf({ notes: { directory }, signingKey }: ShredResources) {
  return { directory, ...(signingKey !== undefined && { signingKey }) };
}

function useOf({ key, volume, guest, disk }: ShredTarget): Omit<KeyUse, "result"> {
  const of = { ...(guest && { guest }), ...(disk && { disk }) };
  return { event: "shred", ...of, volume: volumeName(volume), key };
}

function archivedIn({ archived }: ShredNote): KeyUuid[] {
  return archived.flatMap((uuid) => parseKeyUuid(uuid) ?? []);
}

function requireDeleter(keystore: Keystore, target: ShredTarget): Keystore & KeyDeleter {
  if (canDelete(keystore)) return keystore;
  throw new LuksmithError("SHRED_REFUSED", {
    what: `cannot shred ${nameOf(target)}`,
    why: `keystore ${keystore.name} has its key and cannot delete keys`,
    hint: "move the key first: luksmith keys migrate",
  });
}

function foreign(target: ShredTarget): LuksmithError {
  return new LuksmithError("LUKS_UUID_MISMATCH", {
    what: `cannot shred ${nameOf(target)}`,
    why: `its LUKS header is not the one of key ${target.key}`,
    hint: "see what the volume is: luksmith header show",
  });
}
