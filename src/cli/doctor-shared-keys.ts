import type { Container } from "../di.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { volumeName } from "../storage/volume.js";
import { HOST } from "../tokens.js";
import type { Check } from "./doctor-checks.js";

/**
 * Volumes with one LUKS header, where the header alone names a disk's key: one was copied over the other, or beside it,
 * by hand. Linked clones have their template's.
 */
export async function checkSharedKeys(container: Container): Promise<Check[]> {
  const host = container.resolve(HOST);
  if (host.identified === undefined) return [];
  const disks = new Map<KeyUuid, Map<string, string>>();
  for (const { id } of await host.listGuests()) {
    const guest = await host.readGuest(id);
    for (const { encryption_secret_uuid: uuid, linkedClone, volume, dev } of Object.values(
      guest.disks.mapping,
    )) {
      if (uuid === undefined || linkedClone) continue;
      const volumes = disks.get(uuid) ?? new Map<string, string>();
      disks.set(uuid, volumes.set(volumeName(volume), `disk ${dev} of guest ${guest.name}`));
    }
  }
  return [...disks].flatMap(([uuid, volumes]): Check[] => {
    if (volumes.size < 2) return [];
    const which = [...volumes].map(([volume, disk]) => `${disk} (${volume})`).join(", ");
    return [
      {
        name: "volumes with one key",
        result: "warning",
        detail: `${which} have the same LUKS header, with key ${uuid}: one is a copy of the other`,
        hint: "see that each guest has its own disk; qm disk move gives a copy a key of its own",
      },
    ];
  });
}
