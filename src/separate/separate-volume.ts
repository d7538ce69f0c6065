import { recordFailure } from "../audit/recorded.js";
import type { DiskMapping } from "../disk-info/disk-info.js";
import { mappingName } from "../encryption/dm-crypt/mapping-name.js";
import { applied } from "../encryption/keyslot-pieces.js";
import type { CommandRunner } from "../exec/command-runner.js";
import type { KeyslotPorts } from "../headers/keyslot-ports.js";
import type { ConfiguredGuest, HostAdapter } from "../host/host-adapter.js";
import { keyUuidOf } from "../keystore/key-record.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { canDelete, type Key, type Keystore } from "../keystore/keystore.js";
import { annotationNow, annotationsOf } from "../plan/annotation.js";
import type { AnnotatedKey } from "../plan/step.js";
import { liveKey } from "../recovery/live-key.js";
import type { StorageBackend } from "../storage/storage-backend.js";
import { volumeName } from "../storage/volume.js";
import { namedBack, type Naming, renamedWith, requireOpening, uuidIn, withoutOthers } from "./own-header.js";
import { ownKey } from "./own-key.js";
import { requireApart } from "./proven-apart.js";

export interface SeparatePorts extends KeyslotPorts {
  readonly host: Pick<HostAdapter, "annotate">;
  readonly runner: CommandRunner;
}

/** A copied disk of a guest that is shut off; whoever calls holds the guest's lock, and those of both keys. */
export interface Copied {
  readonly guest: ConfiguredGuest;
  readonly disk: DiskMapping;
}

export interface Separated {
  /** The UUID that the volume has now. */
  readonly uuid: KeyUuid;
  /** Which it shares no more. */
  readonly former: KeyUuid | undefined;
}

/**
 * Gives a copied volume a UUID, a passphrase and a keyslot of its own, and destroys the keyslots that it was copied
 * with. Killed at any instruction, the volume opens with the passphrase that the keystore has under the UUID in its
 * header, and a further call goes on; where all is done, it changes nothing. Nothing but this volume, its key and its
 * guest's configuration is changed: one that turns out to be the original itself, by another name, gets the header back
 * that it had.
 * @throws KEY_IN_USE for that, besides what keyslots, keystores and storage throw
 */
export async function separateVolume({ guest, disk }: Copied, ports: SeparatePorts): Promise<Separated> {
  const { storage, keyslots, vault, audit } = ports;
  const volume = volumeName(disk.volume);
  audit.requireWritable();
  const backend = await storage.backendFor(disk.volume);
  const header = await backend.readHeader(disk.volume);
  const found = uuidIn(header, volume);
  const { key, keystore } = await ownKey({ guest, disk }, found, ports);
  using passphrase = key.passphrase;
  const uuid = keyUuidOf(key.record);
  // its keyslots are its own, those for recovery as well
  if (found === uuid && disk.encryption_secret_uuid === uuid) return { uuid, former: undefined };
  const own = { uuid, passphrase, volume };
  const about = {
    event: "separate",
    guest: { id: guest.id, name: guest.name },
    disk: disk.dev,
    volume,
    key: uuid,
    keystore: keystore.name,
  } as const;
  try {
    await rename({ disk, found, key, keystore, backend, length: header.length }, ports);
    await requireOpening(await backend.readHeader(disk.volume), own, keyslots);
    await backend.changeHeader(disk.volume, header.length, (now) => withoutOthers(now, own, keyslots));
    const now = await backend.readHeader(disk.volume);
    await requireOpening(now, own, keyslots);
    const kept = await vault.keep({ uuid, volume, header: now, reason: "changed" });
    await vault.destroy(
      uuid,
      vault.backups(uuid).filter(({ path }) => path !== kept.path),
    );
    await keystore.change(uuid, (record) => ({ ...record, state: "active" }));
    // last: that the configuration names another key tells an unfinished separation from a disk of its own
    await annotate({ guest, disk }, uuid, ports);
    const detail = found === uuid ? "finished" : `had key ${found}`;
    await audit.record({ ...about, result: "done", detail });
    return { uuid, former: found === uuid ? undefined : found };
  } catch (thrown) {
    await recordFailure(audit, [about], thrown);
    throw thrown;
  }
}

interface Renaming {
  readonly disk: DiskMapping;
  /** In the header. */
  readonly found: KeyUuid;
  /** That the volume is to have. */
  readonly key: Key;
  readonly keystore: Keystore;
  readonly backend: StorageBackend;
  /** Bytes of the header. */
  readonly length: number;
}

/** The header has the new keyslot and name, and the original has not: else it has the former ones again. */
async function rename(
  { disk, found, key: { record, passphrase }, keystore, backend, length }: Renaming,
  { keyring, storage, keyslots, vault, runner }: SeparatePorts,
): Promise<void> {
  const [uuid, volume] = [keyUuidOf(record), volumeName(disk.volume)];
  const former = found === uuid ? disk.encryption_secret_uuid : found;
  if (former === undefined) return;
  const header = await backend.readHeader(disk.volume);
  // so it was left by a call that was killed at the end, after it had looked at the original
  if (found === uuid && keyslots.used(header).length === 1) return;
  const live = await liveKey(keyring, former);
  using old = live.key.passphrase;
  const naming: Naming = { volume, former, old, uuid, passphrase };
  if (found === former) {
    await backend.changeHeader(disk.volume, length, async (now) => {
      const pieces = await renamedWith(now, naming, keyslots);
      // what would mend a header that is torn from here on
      await vault.keep({ uuid, volume, header: applied(now, pieces), reason: "made" });
      return pieces;
    });
  }
  const now = await backend.readHeader(disk.volume);
  await requireOpening(now, naming, keyslots);
  // one that was killed while it destroyed keyslots
  if ((await keyslots.find(now, old)) === undefined) return;
  try {
    const original = live.key.record.volume;
    await requireApart({ volume: disk.volume, original, former, uuid }, { storage, runner });
  } catch (thrown) {
    await backend.changeHeader(disk.volume, length, (renamed) => namedBack(renamed, naming, keyslots));
    await vault.destroy(uuid);
    if (canDelete(keystore)) await keystore.delete(uuid);
    throw thrown;
  }
}

/** The guest's configuration names the new key; that it does already is well. */
async function annotate({ guest, disk }: Copied, uuid: KeyUuid, { host }: SeparatePorts): Promise<void> {
  const now = annotationNow(disk);
  if (now === undefined || now.uuid === uuid) return;
  const mapping = now.mapping && { ...now.mapping, name: mappingName(now.mapping.volume, uuid) };
  const wanted: AnnotatedKey = { ...now, uuid, ...(mapping && { mapping }) };
  await host.annotate(guest, annotationsOf([wanted]), annotationsOf([now]));
}
