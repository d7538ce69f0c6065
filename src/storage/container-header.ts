import type { LuksHeader } from "../encryption/luks-header.js";
import type { LuksPiece } from "../encryption/luks-image.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { ImageLock } from "./image-lock.js";
import type { ContainerSource } from "./luks-container.js";
import type { StorageBackend } from "./storage-backend.js";
import {
  headerTooLong,
  volumeBusy,
  volumeReplaced,
  volumeUnreadable,
  volumeUnwritable,
} from "./volume-error.js";

export type HeaderChange = Parameters<StorageBackend["changeHeader"]>[2];

export type HeaderUsers = NonNullable<Parameters<StorageBackend["changeHeader"]>[3]>;

/** An open volume whose LUKS header is written in place: a raw one, or the file of a qcow2 image. */
export interface HeaderTarget extends ContainerSource {
  /** For messages. */
  readonly name: string;
  /** Bytes when it was opened. */
  readonly size: number;
  write(offset: number, bytes: Buffer): Promise<void>;
  sync(): Promise<void>;
  isInPlace(): Promise<boolean>;
}

/** Bytes of the volume: where its container begins, and how far its header goes from there. */
export interface HeaderPlace {
  readonly start: number;
  readonly length: number;
}

/** The most that LUKS2 has for its copies and keyslots, and far more than LUKS1's eight take. */
const LONGEST = 2 * 4 * 1024 * 1024 + 128 * 1024 * 1024;

/** All of a container's header, to its payload. @throws VOLUME_UNREADABLE, LUKS_HEADER_INVALID */
export async function readContainerHeader(
  source: ContainerSource,
  { payloadOffset }: LuksHeader,
  name: string,
  start = 0,
): Promise<Buffer> {
  if (payloadOffset > LONGEST) {
    throw new LuksmithError("LUKS_HEADER_INVALID", {
      what: `cannot read the LUKS header of volume ${name}`,
      why: `its payload begins at byte ${payloadOffset}, far behind its keyslots`,
    });
  }
  const header = await source.read(start, payloadOffset);
  if (header.length === payloadOffset) return header;
  throw volumeUnreadable(name, "it ends within its LUKS header");
}

/**
 * `change` while nobody else can write: QEMU's lock is taken with `lock`, and looked at before each write.
 * @throws VOLUME_BUSY, in the words of a header that is changed
 */
export async function changeAlone(
  name: string,
  lock: () => Promise<ImageLock>,
  work: (alone: (change: HeaderChange) => HeaderChange) => Promise<void>,
): Promise<void> {
  await using held = await lock().catch((thrown: unknown) => {
    throw inOurWords(name, thrown);
  });
  await work((change) => async (header) => {
    const pieces = await change(header);
    await held.assertHeld().catch((thrown: unknown) => {
      throw inOurWords(name, thrown);
    });
    return pieces;
  });
}

/** What locks speaks of formatting. */
function inOurWords(name: string, thrown: unknown): unknown {
  if (!(thrown instanceof LuksmithError) || thrown.code !== "VOLUME_BUSY") return thrown;
  const { why } = thrown;
  return volumeBusy(name, why, `cannot change the LUKS header of volume ${name} while somebody uses it`);
}

/** How often what others have changed meanwhile is looked at anew. */
const ATTEMPTS = 3;

/**
 * `StorageBackend.changeHeader` on a volume that is open and locked. The lock is this host's: what another host writes
 * meanwhile is noticed, right before the first piece and after the last one, and never undone.
 * @throws VOLUME_TOO_SMALL, VOLUME_UNREADABLE, VOLUME_WRITE_FAILED, VOLUME_NOT_FOUND (replaced meanwhile), VOLUME_BUSY
 */
export async function writeContainerHeader(
  target: HeaderTarget,
  { start, length }: HeaderPlace,
  change: HeaderChange,
): Promise<void> {
  if (target.size < start + length) throw headerTooLong(target.name, target.size - start, length);
  let header = await target.read(start, length);
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const pieces = await change(Buffer.from(header));
    refuseOutside(pieces, length);
    // deriving a key takes seconds, and what is written holds bytes of what was read
    const now = await target.read(start, length);
    if (now.equals(header)) {
      await writePieces(target, start, pieces);
      if ((await target.read(start, length)).equals(withPieces(header, pieces))) return;
      throw changedMeanwhile(target.name, "somebody else has written to it at the same moment");
    }
    header = now;
  }
  throw changedMeanwhile(target.name, "somebody else changes it again and again; nothing was written");
}

async function writePieces(target: HeaderTarget, start: number, pieces: readonly LuksPiece[]): Promise<void> {
  for (const { offset, bytes } of pieces) {
    if (!(await target.isInPlace())) throw volumeReplaced(target.name);
    await target.write(start + offset, bytes);
    await target.sync();
    await assertWritten(target, start + offset, bytes);
  }
}

function withPieces(header: Buffer, pieces: readonly LuksPiece[]): Buffer {
  const changed = Buffer.from(header);
  for (const { offset, bytes } of pieces) bytes.copy(changed, offset);
  return changed;
}

function changedMeanwhile(volume: string, why: string): LuksmithError {
  return new LuksmithError("VOLUME_BUSY", {
    what: `cannot change the LUKS header of volume ${volume}`,
    why,
    hint: "see which other host works on this volume, and run it again",
  });
}

/** The guest's data begins there: a mistake of ours must not reach it. */
function refuseOutside(pieces: readonly LuksPiece[], length: number): void {
  for (const { offset, bytes } of pieces)
    if (!Number.isSafeInteger(offset) || offset < 0 || offset + bytes.length > length)
      throw new Error(`a piece of ${bytes.length} bytes at ${offset} does not lie within the header`);
}

async function assertWritten(target: HeaderTarget, at: number, bytes: Buffer): Promise<void> {
  if ((await target.read(at, bytes.length)).equals(bytes)) return;
  throw volumeUnwritable(target.name, "what was written is not what is read back");
}
