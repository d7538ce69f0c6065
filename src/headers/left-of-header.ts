import { isZero } from "../storage/zero.js";
import { isRandom } from "./key-material.js";

const SECTOR = 512;

/**
 * Whether bytes in the place of a LUKS header are zeros, or what damage has left of it: at least one sector of key
 * material is where the copy has it. It is random, so that nothing else has it there by chance.
 */
export function isLeftOf(bytes: Buffer, copy: Buffer): boolean {
  if (isZero(bytes)) return true;
  // the first sectors of two headers can be alike, and a sector that is all one byte is nobody's
  for (let at = FIRST_MATERIAL; at + SECTOR <= copy.length; at += SECTOR) {
    const sector = copy.subarray(at, at + SECTOR);
    if (sector.equals(bytes.subarray(at, at + SECTOR)) && isRandom(sector)) return true;
  }
  return false;
}

/** Of LUKS1, and behind the first binary header of LUKS2. */
const FIRST_MATERIAL = 4096;
