import { asLuksmithError } from "../error/luksmith-error.js";
import type { StorageRegistry } from "../storage/index.js";
import { type Volume, volumeName } from "../storage/volume.js";
import { hasMaterialIn, type Progress, progressIn } from "./overwriting.js";
import { refused } from "./refuse-used.js";
import type { ShredNote, ShredNotes } from "./shred-notes.js";
import type { ShredTarget } from "./shred-target.js";

interface Ports {
  readonly storage: StorageRegistry;
}

/**
 * How far the destruction that is noted has come on this volume; `other` too for one that has no room for the header.
 * @throws VOLUME_NOT_FOUND, VOLUME_UNREADABLE, VOLUME_WRITE_FAILED, LOCK_TIMEOUT
 */
export async function progressOn(
  volume: Volume,
  { header, overwriting }: ShredNote,
  { storage }: Ports,
): Promise<Progress> {
  return (await stateOn(volume, { header, overwriting }, { storage })).progress;
}

interface State {
  readonly progress: Progress;
  /** Whether some of the header that was noted is there, among what is not of this destruction. */
  readonly hasMaterial: boolean;
}

async function stateOn(
  volume: Volume,
  { header, overwriting }: Pick<ShredNote, "header" | "overwriting">,
  { storage }: Ports,
): Promise<State> {
  let state: State = { progress: "other", hasMaterial: false };
  try {
    const backend = await storage.backendFor(volume);
    await backend.changeHeader(volume, header.length, (bytes) => {
      const progress = progressIn(bytes, header, overwriting);
      state = { progress, hasMaterial: progress === "other" && hasMaterialIn(bytes, overwriting) };
      return Promise.resolve([]);
    });
  } catch (thrown) {
    const { code } = asLuksmithError(thrown);
    if (code !== "VOLUME_TOO_SMALL" && code !== "VOLUME_UNSUPPORTED") throw thrown;
  }
  return state;
}

/**
 * Whether the noted volume has no more to be destroyed, since its header was proven to be gone: it has vanished, or has
 * something else now, which is left alone. @throws what keeps the volume from being read
 */
export async function isGone(note: ShredNote, ports: Ports): Promise<boolean> {
  if (note.destroyedAt === undefined) return false;
  try {
    const { progress, hasMaterial } = await stateOn(note.volume, note, ports);
    return progress === "other" && !hasMaterial;
  } catch (thrown) {
    if (asLuksmithError(thrown).code === "VOLUME_NOT_FOUND") return true;
    throw thrown;
  }
}

/**
 * Whether the target's volume is the one on which the destruction that is noted has begun: what was noted and destroyed
 * nothing yet is as if it had not been, and what has destroyed the header is gone on with also where its volume is gone.
 * @throws SHRED_REFUSED where that has begun on a volume of another name; what keeps the target's from being read
 */
export async function isBegunOn(
  target: ShredTarget,
  note: ShredNote,
  ports: Ports & { readonly notes: ShredNotes },
): Promise<boolean> {
  const noted = volumeName(note.volume);
  if (volumeName(target.volume) === noted && (await isGone(note, ports))) return true;
  const progress = await progressOn(target.volume, note, ports);
  if (volumeName(target.volume) === noted) return isBegun(progress);
  const there = await progressOn(note.volume, note, ports).catch(() => undefined);
  // one that is not there under its name may be this one, unless this one shows that it is another
  const isThere = there === undefined ? progress !== "untouched" : isBegun(there);
  if (!isBegun(progress) && !isThere) return false;
  throw refused(
    target,
    `the destruction of what has its key has begun on volume ${noted}`,
    `see which volume is which, and give that one its name back; if it is gone for good, remove ${ports.notes.pathOf(note.key)}`,
  );
}

function isBegun(progress: Progress): boolean {
  return progress === "torn" || progress === "destroyed";
}
