import { LUKS_HEADER_BLOCK, type LuksArea, luksAreas, type LuksHeader } from "./luks-header.js";
import { KEY_LENGTHS, STRIPES } from "./luks-field.js";
import { COPY_SIZE } from "./luks2-header.js";

/**
 * A new LUKS header, to be written at the start of a container whose other bytes are zero: only these pieces hold
 * anything. None is secret: the key material is encrypted under the passphrase.
 */
export interface LuksImage {
  readonly header: LuksHeader;
  /**
   * In the order in which they are to be written, each one when the storage has those before it. The first is the block
   * that tells whose header this is: LUKS_HEADER_BLOCK bytes for offset 0. A LUKS2 header can be read only with the last.
   */
  readonly pieces: readonly LuksPiece[];
}

export interface LuksPiece {
  /** From the start of the container. */
  readonly offset: number;
  readonly bytes: Buffer;
}

/** Where the pieces of a new container's image stand. */
export function luksPieces(header: LuksHeader): readonly LuksArea[] {
  const [, ...keyslots] = luksAreas(header);
  const block = { offset: 0, length: LUKS_HEADER_BLOCK };
  if (header.version === 1) return [block, ...keyslots];
  const { copySize } = header;
  const end = Math.max(...keyslots.map(({ offset, length }) => offset + length));
  const secondCopyAndKeyslots = { offset: copySize, length: end - copySize };
  const restOfFirstCopy = { offset: LUKS_HEADER_BLOCK, length: copySize - LUKS_HEADER_BLOCK };
  return [block, secondCopyAndKeyslots, restOfFirstCopy];
}

/** The most that any format writes, in bytes from the container's start: headers, and keyslot 0's key material. */
export const MOST_WRITTEN = 2 * COPY_SIZE + Math.max(...KEY_LENGTHS) * STRIPES;
