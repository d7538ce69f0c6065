import type { DiskNote } from "../../guest-config/proxmox/disk-notes.js";
import { readBlock } from "../../guest-config/proxmox/notes-block.js";
import type { KeyUuid } from "../../keystore/key-uuid.js";
import type { Keyring } from "../../keystore/keyring.js";
import type { Guest } from "../host-adapter.js";

/**
 * What is to be said about the encrypted disks of a guest, whose keys are of their LUKS headers. Keystores are asked
 * only for what the description does not say already: each guest's start comes here. A disk whose header cannot be read
 * now is said about what was said before.
 * @param keystores names of those in the settings
 */
export async function diskNotesOf(
  guest: Pick<Guest, "disks">,
  description: string,
  keyring: Pick<Keyring, "locate">,
  keystores: readonly string[],
): Promise<DiskNote[]> {
  const said = new Map(readBlock(description)?.disks.map((note) => [note.disk, note]));
  const notes = await Promise.all(
    Object.values(guest.disks.mapping).map(async ({ dev, encrypted, encryption_secret_uuid: key }) => {
      const before = said.get(dev);
      if (!encrypted) return [];
      if (key === undefined) return before ?? [];
      const isKnown = before?.key === key && keystores.includes(before.record?.keystore ?? "");
      return isKnown ? before : await askedNote(dev, key, keyring);
    }),
  );
  return notes.flat();
}

async function askedNote(disk: string, key: KeyUuid, keyring: Pick<Keyring, "locate">): Promise<DiskNote> {
  const located = await keyring.locate(key);
  if (located.kind !== "found") return { disk, key };
  const { format, cipher, keySize } = located.key.record.encryption;
  located.key.passphrase.dispose();
  return { disk, key, record: { format, cipher, keySize, keystore: located.keystore.name } };
}
