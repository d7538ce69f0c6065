import type { DiskMapping } from "../../disk-info/disk-info.js";
import type { ConversionNote } from "../../generated/conversion-note.js";
import type { ConfiguredGuest, HostAdapter } from "../../host/host-adapter.js";
import { parseKeyUuid } from "../../keystore/key-uuid.js";
import type { Keyring } from "../../keystore/keyring.js";
import { volumeName } from "../../storage/volume.js";
import type { ConversionNotes } from "../conversion-notes.js";

interface UnfinishedSources {
  readonly keyring: Keyring;
  readonly host: Pick<HostAdapter, "providedSecrets">;
  readonly notes: ConversionNotes;
}

/**
 * Device names of disks that a running guest has on their new volumes, while something is left to do: the call that gave
 * them to it was killed. @throws why a keystore, or the host, did not answer
 */
export async function unfinishedDisks(
  guest: ConfiguredGuest,
  to: "encrypted" | "plain",
  { keyring, host, notes }: UnfinishedSources,
): Promise<ReadonlySet<string>> {
  const unfinished = new Set<string>();
  if (!guest.running) return unfinished;
  for (const note of notes.of(guest)) {
    const disk = guest.disks.mapping[note.disk];
    const isGiven = disk !== undefined && volumeName(disk.volume) === note.new.path;
    if (!isGiven) continue;
    const isLeft =
      to === "encrypted" ? await isPending(disk, note, keyring) : await isOpenable(disk, note, guest, host);
    if (isLeft) unfinished.add(note.disk);
  }
  return unfinished;
}

/** Its key is activated at the end. */
async function isPending(disk: DiskMapping, note: ConversionNote, keyring: Keyring): Promise<boolean> {
  const uuid = parseKeyUuid(note.new.key ?? "");
  if (uuid === undefined || disk.encryption_secret_uuid !== uuid) return false;
  const located = await keyring.locate(uuid);
  if (located.kind === "unavailable") throw located.error;
  if (located.kind !== "found") return false;
  located.key.passphrase.dispose();
  return located.key.record.state === "pending";
}

/** The host secret of its old volume is taken away at the end. */
async function isOpenable(
  disk: DiskMapping,
  { old, new: made }: ConversionNote,
  guest: ConfiguredGuest,
  host: UnfinishedSources["host"],
): Promise<boolean> {
  if (old.key === undefined || made.key !== undefined || disk.encrypted) return false;
  const secrets = await host.providedSecrets(guest);
  return secrets.some(({ uuid }) => uuid === old.key);
}
