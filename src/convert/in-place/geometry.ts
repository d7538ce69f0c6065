import { PAYLOAD_OFFSET } from "../../encryption/luks-header.js";
import type { ConversionTo } from "./signpost.js";

/**
 * Bytes that are moved at once: a quarter of the gap between where a byte is and where it goes. So a chunk's new place,
 * the place of the one before it, and the two last signposts never overlap (docs/decisions/025).
 */
export const UNIT = PAYLOAD_OFFSET / 4;

/** Bytes of a signpost: a sector of any disk. */
export const SIGNPOST_LENGTH = 4096;

/** Those that count: a sector that a power cut leaves whole or not at all. The others may be anything after one. */
export const SIGNPOST_CORE = 512;

/** How far a conversion is: when encrypting, all from `mark` on is moved; when decrypting, all before it. */
export interface Progress {
  readonly to: ConversionTo;
  /** Bytes of the guest's disk. */
  readonly payload: number;
  readonly mark: number;
}

/** What is moved next. */
export interface Chunk {
  readonly readAt: number;
  readonly writeAt: number;
  readonly length: number;
  /** Of its first sector, in the payload. */
  readonly sector: number;
  /** Once it is moved. */
  readonly mark: number;
}

export function startOf(to: ConversionTo, payload: number): number {
  return to === "encrypted" ? payload : 0;
}

export function isMoved({ to, payload, mark }: Progress): boolean {
  return mark === (to === "encrypted" ? 0 : payload);
}

/** Encrypting goes from the end to the start, decrypting the other way: what is overwritten has been moved before. */
export function nextChunk(progress: Progress): Chunk {
  const { to, payload, mark } = progress;
  if (to === "encrypted") {
    const from = wholeUnits(mark) - UNIT;
    const length = mark - from;
    return { readAt: from, writeAt: from + PAYLOAD_OFFSET, length, sector: from / 512, mark: from };
  }
  const length = Math.min(UNIT, payload - mark);
  return { readAt: mark + PAYLOAD_OFFSET, writeAt: mark, length, sector: mark / 512, mark: mark + length };
}

/** Where the signpost of this progress stands: always in the gap, where nothing of the guest is. */
export function signpostAt({ to, mark }: Pick<Progress, "to" | "mark">): number {
  if (to === "encrypted") return wholeUnits(mark) + UNIT;
  // behind the last keyslot of a LUKS1 header, which stands until this is on the disk
  if (mark === 0) return PAYLOAD_OFFSET - SIGNPOST_LENGTH;
  return wholeUnits(mark) + 2 * UNIT;
}

/** Every place where a signpost can be on a volume of so many bytes, in order. */
export function* signpostPlaces(from: number, to: number): Generator<number> {
  const last = PAYLOAD_OFFSET - SIGNPOST_LENGTH;
  for (let at = Math.max(0, wholeUnits(from)); at < to; at += UNIT) {
    if (at === PAYLOAD_OFFSET && from <= last) yield last;
    yield at;
  }
}

function wholeUnits(bytes: number): number {
  return Math.ceil(bytes / UNIT) * UNIT;
}
