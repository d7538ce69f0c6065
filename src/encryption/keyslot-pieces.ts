import { luksAreas } from "./luks-header.js";
import { parsedHeader } from "./keyslot-use.js";
import type { LuksPiece } from "./luks-image.js";

const SECTOR = 512;
const PAGE = 4096;

/** What tells the one header from the other. */
interface Differences {
  /** In the order of a removal: what says that a keyslot counts no more comes first. */
  readonly block: readonly LuksPiece[];
  readonly material: readonly LuksPiece[];
}

/**
 * LUKS1's header block by sectors, since an entry may lie over two of them (keyslot 6: its state in the first, most of
 * its salt in the second). LUKS2's two copies, each of which is whole by itself: the second one before the first.
 */
export function differences(before: Buffer, after: Buffer): Differences {
  const parsed = parsedHeader(before);
  const [metadata] = luksAreas(parsed);
  const end = metadata?.length ?? 0;
  const copySize = parsed.version === 1 ? SECTOR : parsed.copySize;
  const block = changedParts(before, after, { start: 0, end, step: copySize });
  return {
    block: parsed.version === 1 ? block : block.toReversed(),
    material: joined(changedParts(before, after, { start: end, end: before.length, step: PAGE })),
  };
}

/** `header` as it is when all of the pieces are written. */
export function applied(header: Buffer, pieces: readonly LuksPiece[]): Buffer {
  const result = Buffer.from(header);
  for (const { offset, bytes } of pieces) bytes.copy(result, offset);
  return result;
}

function changedParts(
  before: Buffer,
  after: Buffer,
  { start, end, step }: { readonly start: number; readonly end: number; readonly step: number },
): LuksPiece[] {
  const parts: LuksPiece[] = [];
  for (let offset = start; offset < end; offset += step) {
    const bytes = after.subarray(offset, Math.min(end, offset + step));
    if (!bytes.equals(before.subarray(offset, offset + bytes.length))) parts.push({ offset, bytes });
  }
  return parts;
}

/** One write for all that lies side by side. */
function joined(parts: readonly LuksPiece[]): LuksPiece[] {
  const runs: { offset: number; bytes: Buffer }[] = [];
  for (const { offset, bytes } of parts) {
    const last = runs.at(-1);
    if (last !== undefined && last.offset + last.bytes.length === offset)
      last.bytes = Buffer.concat([last.bytes, bytes]);
    else runs.push({ offset, bytes });
  }
  return runs;
}
