import { LuksmithError } from "../../error/luksmith-error.js";
import { printable } from "../../error/printable.js";
import type { KeyRecord } from "../../generated/key-record.js";
import { keyUuidOf } from "../key-record.js";
import type { Key, Keystore } from "../keystore.js";
import type { KeyUuid } from "../key-uuid.js";
import { isThrowAway } from "../round-trip.js";
import { differenceOf, keyConflict } from "./compare-keys.js";
import { eachBounded } from "./each-bounded.js";
import type { EscrowKey } from "./escrow.js";
import { recordsOfGuest, type WantedGuest } from "./of-guest.js";

const FETCHES_AT_A_TIME = 8;

/** Which keys: those of the guests and those that are named; all where nothing is named. */
export interface Selection {
  readonly guests: readonly WantedGuest[];
  readonly uuids: readonly KeyUuid[];
}

/**
 * The keys with their passphrases, each once, though several keystores may have it; the caller disposes of them. All
 * or none: an export that lacks a key is found out when it is too late.
 * @throws KEY_NOT_FOUND, GUEST_NOT_FOUND, KEY_CONFLICT, whatever the keystores throw
 */
export async function collectKeys(
  keystores: readonly Keystore[],
  selection: Selection,
): Promise<EscrowKey[]> {
  const uuids = await selectUuids(keystores, selection);
  const found = new Map<KeyUuid, EscrowKey>();
  try {
    await eachBounded(uuids, FETCHES_AT_A_TIME, async (uuid) => {
      const fetchFromAll = async () => {
        for (const keystore of keystores) {
          const key = await keystore.fetch(uuid);
          if (key !== undefined) keep(found, uuid, { ...key, keystore: keystore.name });
        }
      };
      await fetchFromAll();
      // moved from the last to the first one between two questions
      if (!found.has(uuid)) await fetchFromAll();
    });
    return uuids.map((uuid) => found.get(uuid) ?? missing(uuid));
  } catch (thrown) {
    disposeOf([...found.values()]);
    throw thrown;
  }
}

export function disposeOf(keys: readonly Key[]): void {
  for (const { passphrase } of keys) passphrase.dispose();
}

/** In the order of their guests' names, so that people find them. */
async function selectUuids(keystores: readonly Keystore[], { guests, uuids }: Selection): Promise<KeyUuid[]> {
  // keys that are named need no list, which a single damaged record can make impossible
  if (guests.length === 0 && uuids.length > 0) return [...new Set(uuids)];
  const records = (await listTwice(keystores))
    .filter((record) => !isThrowAway(record))
    .sort((a, b) => compare([a.guest.name, a.disk, a.uuid], [b.guest.name, b.disk, b.uuid]));
  const ofGuests = guests.length === 0 ? records : guests.flatMap((guest) => wholeGuest(records, guest));
  return [...new Set([...ofGuests.map(keyUuidOf), ...uuids])];
}

/** @throws KEY_NOT_FOUND if a key that one of the guest's disks needs is not among them: others would look like all */
function wholeGuest(records: readonly KeyRecord[], guest: WantedGuest): readonly KeyRecord[] {
  const found = recordsOfGuest(records, guest);
  const known = new Set(records.map(keyUuidOf));
  const lacking = guest.known?.uses.find((uuid) => !known.has(uuid));
  if (lacking === undefined) return found;
  throw new LuksmithError("KEY_NOT_FOUND", {
    what: `cannot take all keys of guest "${printable(guest.called)}"`,
    why: `one of its disks needs key ${lacking}, which no keystore that was asked has`,
    hint: "see: luksmith keys show UUID; to go without it, name the keys that are wanted: luksmith keys list",
  });
}

/**
 * A key that is moved meanwhile is in none of the lists if those of its new keystore end before, and those of its old
 * one begin after. Every keystore is listed after every other one here: one of the two has it then.
 */
async function listTwice(keystores: readonly Keystore[]): Promise<KeyRecord[]> {
  const list = async () => (await Promise.all(keystores.map((keystore) => keystore.find({})))).flat();
  const once = await list();
  return keystores.length === 1 ? once : [...once, ...(await list())];
}

function compare(a: readonly string[], b: readonly string[]): number {
  const index = a.findIndex((part, i) => part !== b[i]);
  return index === -1 ? 0 : (a[index] ?? "") < (b[index] ?? "") ? -1 : 1;
}

/** Of two copies that differ in nothing but their state the active one: that its passphrase opens was proven. */
function keep(found: Map<KeyUuid, EscrowKey>, uuid: KeyUuid, key: EscrowKey): void {
  const earlier = found.get(uuid);
  if (earlier === undefined) {
    found.set(uuid, key);
    return;
  }
  const difference = differenceOf(earlier, key);
  if (difference === "state" && key.record.state === "active") {
    found.set(uuid, key);
    earlier.passphrase.dispose();
    return;
  }
  key.passphrase.dispose();
  if (difference === "none" || difference === "state") return;
  const places = [`keystore ${earlier.keystore}`, `keystore ${key.keystore}`] as const;
  throw keyConflict(`cannot export key ${uuid}`, difference, places);
}

function missing(uuid: KeyUuid): never {
  throw new LuksmithError("KEY_NOT_FOUND", {
    what: `no keystore has key ${uuid}`,
    hint: "see: luksmith keys list",
  });
}
