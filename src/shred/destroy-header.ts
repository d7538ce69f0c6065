import { digestOf } from "../audit/entry.js";
import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
import type { Clock } from "../event/clock.js";
import type { StorageRegistry } from "../storage/index.js";
import { volumeName } from "../storage/volume.js";
import { isGone, progressOn } from "./begun.js";
import { fillerOf, overwritingOf, type Progress, progressIn } from "./overwriting.js";
import { refused } from "./refuse-used.js";
import { type Findings, isBegun, type Person, type ShredNote, type ShredNotes } from "./shred-notes.js";
import type { ShredTarget } from "./shred-target.js";

interface Ports {
  readonly storage: StorageRegistry;
  readonly notes: ShredNotes;
  readonly clock: Clock;
}

/** @throws SHRED_REFUSED where somebody has the volume open, or its header is not what was found; as `changeHeader` */
export async function requireReady(
  target: ShredTarget,
  found: Findings | ShredNote,
  { storage }: Pick<Ports, "storage">,
): Promise<void> {
  if (isBegun(found) && (await isGone(found, { storage }))) return;
  await changeAlone(target, found.header.length, storage, (bytes) => {
    requireFound(bytes, target, found);
    return undefined;
  });
}

/**
 * Overwrites every byte to the payload: both copies of a header, all keyslots, and what lies between them. Noted right
 * before the first one; where nothing came to be overwritten, nothing stays noted. One that was proven to be gone is not
 * looked for where something else is by now.
 * @returns the note of it @throws as requireReady; VOLUME_WRITE_FAILED
 */
export async function destroyHeader(
  target: ShredTarget,
  found: Findings | ShredNote,
  persons: readonly Person[],
  { storage, notes, clock }: Ports,
): Promise<ShredNote> {
  const startedAt = clock.now().toISOString();
  let note = isBegun(found) ? found : undefined;
  if (note !== undefined && (await isGone(note, { storage }))) return note;
  try {
    await changeAlone(target, found.header.length, storage, (bytes) => {
      if (requireFound(bytes, target, note ?? found) === "destroyed") return undefined;
      if (note === undefined) {
        note = { version: 1, ...found, startedAt, persons, overwriting: overwritingOf(bytes) };
        notes.write(note);
      }
      return fillerOf(note.overwriting.seed, bytes.length);
    });
  } catch (thrown) {
    if (note !== undefined && note !== found) await forgetUnlessBegun(target, note, { storage, notes });
    throw thrown;
  }
  if (note === undefined) throw new Error("no header was overwritten, and nothing was thrown");
  return note;
}

/** @throws VOLUME_WRITE_FAILED, and what keeps the volume from being read */
export async function requireDestroyed(note: ShredNote, ports: Pick<Ports, "storage">): Promise<void> {
  if (await isGone(note, ports)) return;
  if ((await progressOn(note.volume, note, ports)) === "destroyed") return;
  throw new LuksmithError("VOLUME_WRITE_FAILED", {
    what: `the LUKS header of volume ${volumeName(note.volume)} is not destroyed`,
    why: "what was written in its place is not what is there now; its key is kept",
    hint: "look who writes to the volume, and call luksmith shred again",
  });
}

/** @param fill gives what is to stand in the header's place, or nothing to leave it @throws SHRED_REFUSED */
async function changeAlone(
  target: ShredTarget,
  length: number,
  storage: StorageRegistry,
  fill: (bytes: Buffer) => Buffer | undefined,
): Promise<void> {
  const { volume } = target;
  const backend = await storage.backendFor(volume);
  const written: Buffer[] = [];
  const change = (header: Buffer) => {
    const bytes = fill(header);
    if (bytes !== undefined) written.push(bytes);
    return Promise.resolve(bytes === undefined ? [] : [{ offset: 0, bytes }]);
  };
  try {
    await backend.changeHeader(volume, length, change, "excluded");
  } catch (thrown) {
    const { code, why = "somebody has it open", hint = "end what uses it" } = asLuksmithError(thrown);
    if (code !== "VOLUME_BUSY" || written.length > 0) throw thrown;
    throw refused(target, why, hint);
  }
}

/** @throws SHRED_REFUSED */
function requireFound(bytes: Buffer, target: ShredTarget, found: Findings | ShredNote): Progress {
  const { header } = found;
  const isFirst = !isBegun(found);
  if (isFirst && digestOf(bytes) === header.digest) return "untouched";
  const progress = isFirst ? "other" : progressIn(bytes, header, found.overwriting);
  if (progress !== "other") return progress;
  throw refused(
    target,
    "its volume has something else by now than the LUKS header that was to be destroyed",
    "see what the volume is: luksmith header show",
  );
}

/** What a call that has destroyed nothing leaves must not look as if it had. */
async function forgetUnlessBegun(
  { key, volume }: ShredTarget,
  note: ShredNote,
  { storage, notes }: Pick<Ports, "storage" | "notes">,
): Promise<void> {
  // what cannot be read may be half destroyed
  const progress = await progressOn(volume, note, { storage }).catch(() => "torn" as const);
  if (progress === "untouched" || progress === "other") notes.remove(key);
}
