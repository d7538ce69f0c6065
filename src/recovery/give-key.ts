import type { Keyslots } from "../encryption/keyslots.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { KeyRecord } from "../generated/key-record.js";
import { writeToHeader } from "../headers/write-header.js";
import { keyUuidOf } from "../keystore/key-record.js";
import type { Key, Keystore } from "../keystore/keystore.js";
import { conversionCommand } from "../plan/commands.js";
import { isUnderWay, newOwner, underWay } from "../rotate/rotation-note.js";
import { Secret } from "../secret/secret.js";
import { volumeName } from "../storage/volume.js";
import type { OpenedVolume } from "./opened-volume.js";
import { recoveryOf, withRecovery } from "./recovery-entry.js";

/** How a keystore came to have a passphrase that opens the volume. */
export interface GivenKey {
  /** `added`: the keystore had an active key that did not open the volume, and whose passphrase may be a former one. */
  readonly outcome: "stored" | "present" | "added";
  readonly record: KeyRecord;
  readonly keyslot: number;
}

/**
 * Gives a keystore a passphrase of its own for a volume that was opened without any, under the UUID in the volume's
 * header. Killed at any instruction, a further call goes on: the key is stored before its keyslot is made, and says
 * that it opens the volume only after that was proven. Whoever calls holds the lock of the key.
 * @param record of the key, for a keystore that has none under the UUID
 * @param beforeChange is given the header as it is, before a keyslot is added; what it throws is thrown
 * @throws ROTATION_REFUSED while another host rotates the key, CONVERSION_UNFINISHED, KEY_CONFLICT for the record of a
 *   former passphrase: nothing was changed
 */
export async function giveKey(
  opened: OpenedVolume,
  {
    passphrase,
    record,
    keystore,
    keyslots,
    now,
    beforeChange,
  }: {
    readonly passphrase: Secret;
    readonly record: KeyRecord;
    readonly keystore: Keystore;
    readonly keyslots: Keyslots;
    readonly now: Date;
    readonly beforeChange: (header: Buffer) => Promise<void>;
  },
): Promise<GivenKey> {
  const uuid = keyUuidOf(record);
  const key = (await keystore.fetch(uuid)) ?? (await store(keystore, record));
  using own = key.passphrase;
  requireUsable(keystore.name, key.record, now);
  const { backend, volume, bytes } = opened;
  const known = await keyslots.find(bytes, own);
  if (known === undefined) {
    await beforeChange(bytes);
    const { pieces } = await keyslots.add(bytes, { passphrase, added: own, strength: "machine" });
    await writeToHeader(opened, bytes, pieces);
  }
  const keyslot = await keyslots.find(await backend.readHeader(volume), own);
  if (keyslot === undefined) throw notOpening(volumeName(volume));
  const stored = await keystore.change(uuid, (current) => nowOpening(current, record));
  const added = key.record.state === "pending" ? "stored" : "added";
  return { outcome: known === undefined ? added : "present", record: stored, keyslot };
}

/** What another process has begun with the key, it goes on with. */
function requireUsable(
  keystore: string,
  { uuid, guest, disk, rotation, conversion, archived }: KeyRecord,
  now: Date,
): void {
  // one that is cut short needs a passphrase that opens, and ends with the one that is given here
  if (rotation !== undefined && isUnderWay(rotation, newOwner(), now)) throw underWay(uuid, rotation);
  const what = `cannot take key ${uuid} of keystore ${keystore} for the volume`;
  if (conversion !== undefined) {
    throw new LuksmithError("CONVERSION_UNFINISHED", {
      what,
      why: `its record says that a volume is being converted in place since ${conversion.startedAt}`,
      hint: `if that was cut short, it goes on with: ${conversionCommand(guest, disk, conversion.to)}`,
    });
  }
  if (archived === undefined) return;
  throw new LuksmithError("KEY_CONFLICT", { what, why: `it is a former passphrase of key ${archived.of}` });
}

/** What was recovered may be known better than by a record that a call before has made, and that was cut short. */
function nowOpening(now: KeyRecord, { recovery: known = [] }: KeyRecord): KeyRecord {
  const there = recoveryOf(now);
  const more = known.filter(({ keyslot }) => !there.some((entry) => entry.keyslot === keyslot));
  if (now.state === "active" && more.length === 0) return now;
  return withRecovery({ ...now, state: "active" }, [...there, ...more]);
}

/** As one that is not known to open anything yet. */
async function store(keystore: Keystore, record: KeyRecord): Promise<Key> {
  const passphrase = Secret.randomPassphrase();
  try {
    const key = { record: { ...record, state: "pending" as const }, passphrase };
    await keystore.store(key);
    return key;
  } catch (thrown) {
    passphrase.dispose();
    throw thrown;
  }
}

function notOpening(volume: string): LuksmithError {
  return new LuksmithError("PASSPHRASE_REJECTED", {
    what: `${volume} does not open with the passphrase that was just put there`,
    why: "the volume does not keep what is written to it",
  });
}
