import type { Allocation } from "./allocation-map.js";
import type { VolumeFile } from "./volume-file.js";

const CHUNK = 1024 * 1024;
const ZEROS = Buffer.alloc(CHUNK);

export function isZero(bytes: Buffer): boolean {
  for (let start = 0; start < bytes.length; start += CHUNK) {
    const chunk = bytes.subarray(start, start + CHUNK);
    if (!chunk.equals(ZEROS.subarray(0, chunk.length))) return false;
  }
  return true;
}

/**
 * Reads what is allocated to the first byte that is not zero. Bytes of the file before `from` may be anything, and
 * those behind its end are zero: a map counts whole sectors.
 * @throws VOLUME_UNREADABLE: what cannot be read proves nothing
 */
export async function readsAsZero(file: VolumeFile, allocation: Allocation, from = 0): Promise<boolean> {
  if (allocation === "compressed") return false;
  for (const { offset, length } of allocation) {
    const end = offset + length;
    for (let at = Math.max(offset, from); at < end; at += CHUNK) {
      if (!isZero(await file.read(at, Math.min(CHUNK, end - at)))) return false;
    }
  }
  return true;
}
