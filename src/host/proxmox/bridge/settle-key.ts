import { asLuksmithError } from "../../../error/luksmith-error.js";
import type { KeyRecord } from "../../../generated/key-record.js";
import { keyUuidOf } from "../../../keystore/key-record.js";
import type { KeyUuid } from "../../../keystore/key-uuid.js";
import type { Found } from "../../../keystore/keyring.js";
import { inUse } from "../key-in-use.js";
import { guestName } from "./guest-name.js";
import type { BridgeResources } from "./resources.js";

type Resources = Pick<BridgeResources, "keyring" | "places" | "warn">;

/**
 * The key of a volume that is used: active, and not freed. Its record says something else where the command that made
 * the volume was killed, or a volume that was destroyed has come back. What cannot be written now is a warning.
 */
export async function settle(
  { record, keystore: name }: { readonly record: KeyRecord; readonly keystore: string | undefined },
  { keyring, places, warn }: Resources,
): Promise<void> {
  // a copy that this host has: its keystore does not answer now
  if (name === undefined) return;
  const { id } = record.guest;
  const guest = { id, name: guestName(places, id) };
  if (inUse(record, guest) === undefined) return;
  try {
    const keystore = await keyring.get(name);
    await keystore.change(keyUuidOf(record), (now) => inUse(now, guest) ?? now);
  } catch (thrown) {
    warn(`could not record that key ${record.uuid} is in use: ${asLuksmithError(thrown).message}`);
  }
}

/** The same for a key that nobody needs for what is done with its volume: one that cannot be had is left as it is. */
export async function settleKeyOf(uuid: KeyUuid, resources: Resources): Promise<void> {
  const located = await resources.keyring.locate(uuid);
  if (located.kind !== "found") return;
  located.key.passphrase.dispose();
  await settle({ record: located.key.record, keystore: keystoreOf(located) }, resources);
}

/** Undefined for a copy. */
export function keystoreOf({ cached, keystore }: Found): string | undefined {
  return cached === undefined ? keystore.name : undefined;
}
