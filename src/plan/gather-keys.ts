import type { Guest } from "../host/host-adapter.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { Keyring } from "../keystore/keyring.js";
import type { Logger } from "../log/logger.js";
import { warnOfCopy } from "./key-copies.js";
import type { KeySession } from "./key-session.js";
import type { OpeningKey } from "./step.js";

/**
 * The keys of a running guest's disks, and of what they lie over, that can be found. No volume is touched, since its
 * storage may hang; a disk whose key cannot be had is logged and leaves the others alone.
 */
export async function gatherKeys(
  guest: Guest,
  keyring: Keyring,
  session: KeySession,
  logger: Logger,
): Promise<OpeningKey[]> {
  const lookUp = async (key: OpeningKey): Promise<OpeningKey[]> => {
    const { disk, uuid } = key;
    const located = await keyring.locate(uuid);
    switch (located.kind) {
      case "found":
        session.add(uuid, located.key, located);
        if (located.cached !== undefined) {
          const { keystore, cached } = located;
          warnOfCopy(guest, { disk, uuid, keystore: keystore.name, cached }, logger);
        }
        return [key];
      case "unknown":
        return [];
      case "unavailable":
        logger.warn("could not look up the key of a disk", {
          guest: guest.name,
          disk,
          key: uuid,
          error: located.error,
        });
        return [];
    }
  };
  return (await Promise.all(namedKeys(guest).map(lookUp))).flat();
}

function namedKeys(guest: Guest): OpeningKey[] {
  const own = (disk: string, uuid: KeyUuid | undefined) => (uuid === undefined ? [] : [{ disk, uuid }]);
  const base = (disk: string) => (uuid: KeyUuid) => ({ disk, uuid, opens: "base" }) as const;
  return Object.values(guest.disks.mapping).flatMap((mapping): OpeningKey[] => [
    // a mapping outlives its host manager, and needs no host secret
    ...own(mapping.dev, mapping.mapping === undefined ? mapping.encryption_secret_uuid : undefined),
    ...(mapping.backingSecretUuids ?? []).map(base(mapping.dev)),
  ]);
}
