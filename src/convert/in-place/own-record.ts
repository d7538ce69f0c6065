import { LuksmithError } from "../../error/luksmith-error.js";
import { conversionCommand, guestWord } from "../../plan/commands.js";
import { probeKeyVolume } from "../../plan/key-volume.js";
import { isSameVolume } from "../../plan/same-volume.js";
import type { Key } from "../../keystore/keystore.js";
import type { StorageRegistry } from "../../storage/index.js";
import { volumeName } from "../../storage/volume.js";
import { cannot, type Subject } from "./refusals.js";

/**
 * A key that was made for another volume, which is still there: this one is a copy of it, with the same key. What the
 * key's record says of a conversion would hold for both.
 * @throws CONVERT_FAILED, KEY_ARCHIVED, CONVERSION_UNFINISHED for one that goes the other way
 */
export async function requireOwnRecord(subject: Subject, key: Key, storage: StorageRegistry): Promise<void> {
  const { guest, disk, to } = subject;
  const { record } = key;
  const { uuid, conversion, rotation, volume } = record;
  if (record.state === "archived")
    throw new LuksmithError("KEY_ARCHIVED", {
      what: `${cannot(subject)}: its encryption block names ${uuid}, which is a former passphrase`,
      hint: "put the key's own UUID there",
    });
  if (rotation !== undefined)
    throw new LuksmithError("CONVERT_FAILED", {
      what: `${cannot(subject)}: a rotation of its key has begun and has not ended`,
      hint: `let it end first: luksmith rotate ${guestWord(guest)}`,
    });
  if (volume !== volumeName(disk.volume)) await requireMoved(subject, key, storage);
  if (conversion === undefined || conversion.to === to) return;
  throw new LuksmithError("CONVERSION_UNFINISHED", {
    what: `${cannot(subject)}: it is being ${conversion.to === "encrypted" ? "encrypted" : "decrypted"}`,
    why: `that began at ${conversion.startedAt}, and has not ended`,
    hint: `let it end first: ${conversionCommand(guest, disk.dev, conversion.to)}`,
  });
}

async function requireMoved(subject: Subject, key: Key, storage: StorageRegistry): Promise<void> {
  const { guest, disk } = subject;
  const { uuid, volume, conversion } = key.record;
  if (await isSameVolume(disk, { volume: { kind: "file", path: volume, format: "raw" } })) return;
  const found = await probeKeyVolume(key, storage);
  // half of one that is being converted looks like anything
  const isThere = conversion === undefined ? found.kind === "uses-key" : found.kind !== "absent";
  if (!isThere && found.kind !== "unreadable") return;
  throw new LuksmithError("CONVERT_FAILED", {
    what: `${cannot(subject)}: its key ${uuid} was made for ${volume}, which is still there`,
    why: found.kind === "unreadable" ? found.reason : "one of the two is a copy of the other",
    hint:
      conversion === undefined
        ? `give the copy a key of its own first: luksmith separate ${guestWord(guest)} ${disk.dev}`
        : "that one is being converted: let it end first, or take it away if this is what is left of it",
  });
}
