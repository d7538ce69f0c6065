import type { Allocation } from "./allocation-map.js";
import { volumeUnreadable } from "./volume-error.js";
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
 * Reads what is allocated to the first byte that is not zero. Bytes of the file before `from` may be anything.
 * @throws VOLUME_UNREADABLE: what cannot be read proves nothing
 */
export async function readsAsZero(file: VolumeFile, allocation: Allocation, from = 0): Promise<boolean> {
  if (allocation === "compressed") return false;
  for (const { offset, length } of allocation) {
    // the map counts whole sectors: its last extent may go beyond a file that ends within one
    const end = Math.min(offset + length, file.size);
    for (let at = Math.max(offset, from); at < end; at += CHUNK) {
      const chunk = await file.read(at, Math.min(CHUNK, end - at));
      if (chunk.length < Math.min(CHUNK, end - at))
        throw volumeUnreadable(file.name, "it shrinks while it is read");
      if (!isZero(chunk)) return false;
    }
  }
  return true;
}
