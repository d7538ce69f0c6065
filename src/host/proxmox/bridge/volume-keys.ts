import { asLuksmithError } from "../../../error/luksmith-error.js";
import type { KeyRecord } from "../../../generated/key-record.js";
import type { KeyUuid } from "../../../keystore/key-uuid.js";
import type { Keystore } from "../../../keystore/keystore.js";
import { type Volume, volumeName } from "../../../storage/volume.js";
import type { BaseStorage } from "../base/base-storage.js";
import { isVolumeName } from "../base/volume-name.js";
import type { Claimed } from "./opened-volume.js";
import type { BridgeResources } from "./resources.js";

/** A key of a volume, and a keystore that has it. */
export interface VolumeKey {
  readonly keystore: Keystore;
  readonly record: KeyRecord;
}

/**
 * The records of a volume's key in all keystores: of the key that its LUKS header names, whatever volume they were made
 * for; without a header, of keys that were stored for it and have encrypted nothing. A keystore that does not answer is
 * a warning: the volume does not depend on it.
 */
export async function keysOf(
  volume: Volume,
  claimed: Claimed,
  { keyring, warn }: Pick<BridgeResources, "keyring" | "warn">,
): Promise<VolumeKey[]> {
  const keys: VolumeKey[] = [];
  for (const keystore of await keyring.all()) {
    try {
      const records =
        claimed.kind === "claimed"
          ? await recordOf(claimed.uuid, keystore)
          : await keystore.find({ volume: volumeName(volume), state: "pending" });
      keys.push(...records.map((record) => ({ keystore, record })));
    } catch (thrown) {
      const { message } = asLuksmithError(thrown);
      warn(`keystore ${keystore.name} was not asked for the key of ${volumeName(volume)}: ${message}`);
    }
  }
  return keys;
}

/** The name of the volume that a record was made for, where that is one of this base. */
export function namedIn(base: BaseStorage, { volume }: Pick<KeyRecord, "volume">): string | undefined {
  const name = /([^/]+?)(?:\.luks)?$/.exec(volume)?.[1] ?? "";
  return isVolumeName(name) && volumeName(base.volume(name)) === volume ? name : undefined;
}

/** As it is for a volume that is used: active, and not freed. */
export function settledRecord(record: KeyRecord): KeyRecord {
  return { ...unfreed(record), state: "active" };
}

/** As it is for a volume that is there. */
export function unfreed(record: KeyRecord): KeyRecord {
  const there: KeyRecord = { ...record };
  delete there.freedAt;
  delete there.freedBy;
  delete there.freedFrom;
  return there;
}

async function recordOf(uuid: KeyUuid, keystore: Keystore): Promise<KeyRecord[]> {
  const key = await keystore.fetch(uuid);
  key?.passphrase.dispose();
  return key === undefined ? [] : [key.record];
}
