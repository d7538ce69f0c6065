import type { Guest } from "../host/host-adapter.js";
import type { Keyring } from "../keystore/keyring.js";
import type { Logger } from "../log/logger.js";
import type { KeySession } from "./key-session.js";
import type { DiskKey } from "./step.js";

/**
 * The keys of a running guest's disks that can be found. No volume is touched, since its storage may hang; a disk
 * whose key cannot be had is logged and leaves the others alone.
 */
export async function gatherKeys(
  guest: Guest,
  keyring: Keyring,
  session: KeySession,
  logger: Logger,
): Promise<DiskKey[]> {
  const keys = Object.values(guest.disks.mapping).map(async ({ dev, encryption_secret_uuid: uuid }) => {
    if (uuid === undefined) return [];
    const located = await keyring.locate(uuid);
    switch (located.kind) {
      case "found":
        session.add(uuid, located.key);
        return [{ disk: dev, uuid }];
      case "unknown":
        return [];
      case "unavailable":
        logger.warn("could not look up the key of a disk", {
          guest: guest.name,
          disk: dev,
          key: uuid,
          error: located.error,
        });
        return [];
    }
  });
  return (await Promise.all(keys)).flat();
}
