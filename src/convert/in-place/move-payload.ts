import { volumeUnreadable } from "../../storage/volume-error.js";
import { type Chunk, isMoved, nextChunk, type Progress, signpostAt, UNIT } from "./geometry.js";
import type { MovedVolume } from "./moved-volume.js";
import { SectorCipher } from "./sector-cipher.js";
import type { Signposts } from "./signpost.js";

export interface Move {
  readonly volume: MovedVolume;
  readonly signposts: Signposts;
  /** Hears how far it is, when the storage has it; what it waits for, the next chunk waits for. */
  readonly moved?: (progress: Progress, bytes: number) => Promise<void> | void;
}

/**
 * Moves the payload, chunk by chunk, and encrypts or decrypts it on the way. Cut short at any instruction, and whatever
 * of its last writes the storage has kept, a further call goes on from the newest signpost on the volume: a chunk is
 * written together with the signpost that says that those before it are on the storage, never over what either of the
 * two last chunks was read from, and never over the last signpost that is on the storage for certain. Only then comes the
 * next one. Nothing but one wait for the storage stands between two chunks, and the next one is read meanwhile.
 * @param from whose signpost the storage has
 * @throws VOLUME_UNREADABLE, VOLUME_WRITE_FAILED
 */
export async function movePayload(from: Progress, { volume, signposts, moved }: Move): Promise<Progress> {
  const cipher = new SectorCipher(signposts.volumeKey);
  const input = Buffer.alloc(UNIT);
  const transformed = (chunk: Chunk) => transform(volume, cipher, from, { ...chunk, input });
  let progress = from;
  let next = isMoved(from) ? undefined : transformed(nextChunk(from));
  while (next !== undefined) {
    const chunk = nextChunk(progress);
    const bytes = await next;
    await volume.write(chunk.writeAt, bytes);
    if (progress !== from) await writeSignpost(volume, signposts, progress);
    const after = { ...progress, mark: chunk.mark };
    next = isMoved(after) ? undefined : transformed(nextChunk(after));
    // told when it is awaited: what fails meanwhile must not end the process
    next?.catch(() => undefined);
    await volume.flush();
    progress = after;
    await moved?.(progress, chunk.length);
  }
  if (progress === from) return progress;
  await writeSignpost(volume, signposts, progress);
  await volume.flush();
  return progress;
}

/** The first signpost of a conversion, which must be on the storage before anything is moved. */
export async function beginMove(progress: Progress, { volume, signposts }: Move): Promise<void> {
  await writeSignpost(volume, signposts, progress);
  await volume.flush();
}

function writeSignpost(volume: MovedVolume, signposts: Signposts, progress: Progress): Promise<void> {
  return volume.write(signpostAt(progress), signposts.bytes(progress));
}

async function transform(
  volume: MovedVolume,
  cipher: SectorCipher,
  { to }: Progress,
  { readAt, length, sector, input }: Chunk & { readonly input: Buffer },
): Promise<Buffer> {
  const bytes = await volume.read(readAt, length, input);
  if (bytes.length < length) throw volumeUnreadable(volume.name, `it ends at byte ${readAt + bytes.length}`);
  return to === "encrypted" ? cipher.encrypt(bytes, sector) : cipher.decrypt(bytes, sector);
}
