import type { DiskMapping } from "../disk-info/disk-info.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { Guest } from "../host/host-adapter.js";
import type { Keyring } from "../keystore/keyring.js";
import type { Key, Keystore } from "../keystore/keystore.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { conversionCommand, guestWord, separationCommand } from "../plan/commands.js";
import type { AnnotatedDisk } from "../plan/facts.js";
import { probeKeyVolume } from "../plan/key-volume.js";
import { isSameVolume } from "../plan/same-volume.js";
import { requireHeaderOf } from "../plan/volume-content.js";
import type { StorageRegistry } from "../storage/index.js";
import { volumeName } from "../storage/volume.js";

/** A key whose passphrase can be replaced. */
export interface Rotatable {
  readonly keystore: Keystore;
  readonly record: KeyRecord;
}

interface Sources {
  readonly keyring: Keyring;
  readonly storage: StorageRegistry;
}

/**
 * @throws ROTATION_REFUSED, KEYSTORE_UNAVAILABLE, CONVERSION_UNFINISHED, KEY_ARCHIVED, KEY_NOT_FOUND,
 *   DISK_NOT_ENCRYPTED, and what is wrong with the volume
 */
export async function requireRotatable(
  guest: Guest,
  fact: AnnotatedDisk,
  { keyring, storage }: Sources,
): Promise<Rotatable> {
  const { key, uuid, disk } = fact;
  if (key.kind === "unavailable") throw key.error;
  if (key.kind === "unknown") {
    throw new LuksmithError("KEY_NOT_FOUND", {
      what: `its key ${uuid} is in no keystore`,
      why: "its encryption block is another program's, or the key was lost",
      hint: "rotate it with what encrypted it",
    });
  }
  // a copy cannot be replaced where it came from
  if (key.cached !== undefined) throw key.cached.error;
  const { record } = key;
  refuseRecord(guest, fact, record);
  requireHeaderOf(guest, fact, `the volume of key ${uuid} is not in order`);
  const keystore = await onlyKeystoreWith(uuid, keyring);
  if (record.volume !== volumeName(disk.volume)) await refuseCopy(guest, fact, keystore, storage);
  return { keystore, record };
}

function refuseRecord(guest: Guest, { disk, uuid }: AnnotatedDisk, record: KeyRecord): void {
  if (record.archived !== undefined || record.state === "archived") {
    throw new LuksmithError("KEY_ARCHIVED", {
      what: `its encryption block names ${uuid}, which is a former passphrase`,
      hint: "put the key's own UUID there",
    });
  }
  if (record.conversion !== undefined) {
    throw new LuksmithError("CONVERSION_UNFINISHED", {
      what: "it is being converted in place",
      why: `that began at ${record.conversion.startedAt}, and has not ended`,
      hint: `if it was cut short, it goes on with: ${conversionCommand(guest, disk.dev, record.conversion.to)}`,
    });
  }
  if (record.encryption.format === "plain") {
    throw new LuksmithError("ROTATION_REFUSED", {
      what: "it is encrypted as plain dm-crypt",
      why: "that has no keyslots: what is in the keystore is its volume key",
      hint: `convert it to LUKS: luksmith convert ${guestWord(guest)} ${disk.dev}`,
    });
  }
  if (record.state === "pending") {
    throw new LuksmithError("DISK_NOT_ENCRYPTED", {
      what: "it is not formatted yet",
      why: "nothing was encrypted with its passphrase",
      hint: "its guest's next start formats it",
    });
  }
}

/** Two keystores with one key would give out two passphrases afterwards. */
async function onlyKeystoreWith(uuid: KeyUuid, keyring: Keyring): Promise<Keystore> {
  const having: Keystore[] = [];
  for (const keystore of await keyring.all()) {
    const key = await keystore.fetch(uuid);
    if (key === undefined) continue;
    key.passphrase.dispose();
    having.push(keystore);
  }
  const [only, another] = having;
  if (only === undefined)
    throw new LuksmithError("KEY_NOT_FOUND", { what: `key ${uuid} has just gone from its keystore` });
  if (another === undefined) return only;
  throw new LuksmithError("ROTATION_REFUSED", {
    what: `keystores ${only.name} and ${another.name} both have key ${uuid}`,
    why: "only one of them would get the new passphrase",
    hint: "finish moving the keys: luksmith keys migrate",
  });
}

/** The volume that the key was made for is another one than the disk has now, and still there. */
async function refuseCopy(
  guest: Guest,
  { disk, uuid }: AnnotatedDisk,
  keystore: Keystore,
  storage: StorageRegistry,
): Promise<void> {
  const key = await keystore.fetch(uuid);
  if (key === undefined) return;
  try {
    await refuseVolumeOf(guest, key, disk, storage);
  } finally {
    key.passphrase.dispose();
  }
}

async function refuseVolumeOf(
  guest: Guest,
  key: Key,
  disk: DiskMapping,
  storage: StorageRegistry,
): Promise<void> {
  const { uuid, volume } = key.record;
  if (await isSameVolume(disk, { volume: { kind: "file", path: volume, format: "raw" } })) return;
  const found = await probeKeyVolume(key, storage);
  if (found.kind !== "uses-key" && found.kind !== "unreadable") return;
  throw new LuksmithError("ROTATION_REFUSED", {
    what: `key ${uuid} was made for ${volume}, which may need its passphrase still`,
    why: found.kind === "uses-key" ? found.why : found.reason,
    hint: `give the copy a key of its own first: ${separationCommand(guest, disk.dev)}`,
  });
}
