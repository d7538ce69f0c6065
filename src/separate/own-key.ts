import type { DiskMapping } from "../disk-info/disk-info.js";
import type { Clock } from "../event/clock.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { Guest } from "../host/host-adapter.js";
import { keyUuidOf } from "../keystore/key-record.js";
import { type KeyUuid, newKeyUuid } from "../keystore/key-uuid.js";
import type { Keyring } from "../keystore/keyring.js";
import type { Key, Keystore } from "../keystore/keystore.js";
import { liveKey } from "../recovery/live-key.js";
import { Secret } from "../secret/secret.js";
import { volumeName } from "../storage/volume.js";

interface DiskOf {
  readonly guest: Pick<Guest, "id" | "name">;
  readonly disk: Pick<DiskMapping, "dev" | "volume">;
}

/** Whoever asks disposes of the passphrase. */
interface OwnKey {
  readonly key: Key;
  readonly keystore: Keystore;
}

/**
 * The key that a copied volume is to have: that of its header, where an earlier call has come so far; one that was
 * stored for it and is pending; a new one, in the keystore that has the key of the original.
 * @param found in the header
 */
export async function ownKey(
  { guest, disk }: DiskOf,
  found: KeyUuid,
  { keyring, clock }: { readonly keyring: Keyring; readonly clock: Clock },
): Promise<OwnKey> {
  const volume = volumeName(disk.volume);
  const live = await liveKey(keyring, found);
  const keystore = await keyring.get(live.keystore);
  const { guest: owner, encryption, profile, ...record } = live.key.record;
  if (owner.id === guest.id && record.volume === volume) return { key: live.key, keystore };
  live.key.passphrase.dispose();
  const [pending] = await keystore.find({ guestId: guest.id, volume, state: "pending" });
  const earlier = pending && (await keystore.fetch(keyUuidOf(pending)));
  if (earlier !== undefined) return { key: earlier, keystore };
  return { key: await stored(newRecord(), keystore), keystore };

  function newRecord(): KeyRecord {
    return {
      version: 1,
      uuid: newKeyUuid(),
      state: "pending",
      guest: { id: guest.id, name: guest.name },
      disk: disk.dev,
      volume,
      encryption,
      ...(profile !== undefined && { profile }),
      createdAt: clock.now().toISOString(),
    };
  }
}

async function stored(record: KeyRecord, keystore: Keystore): Promise<Key> {
  const passphrase = Secret.randomPassphrase();
  try {
    await keystore.store({ record, passphrase });
    return { record, passphrase };
  } catch (thrown) {
    passphrase.dispose();
    throw thrown;
  }
}
