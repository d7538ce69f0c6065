import { realpath } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { QCOW2_HEADER_AREA, readQcow2Header } from "../storage/qcow2/qcow2-header.js";
import type { PathVolume } from "../storage/volume.js";
import { VolumeFile } from "../storage/volume-file.js";

/** More layers than any guest has. */
const DEPTH = 100;

/**
 * Whether a qcow2 image lies over `base`, directly or over others. What cannot be read is no base of anything here; a base
 * that is named in another way than by a path (`json:`, `nbd:`) is none either.
 */
export async function liesOver(image: PathVolume, base: string): Promise<boolean> {
  const wanted = await realpath(base).catch(() => base);
  let path = image.path;
  for (let depth = 0; depth < DEPTH; depth++) {
    const next = await baseOf(path);
    if (next === undefined) return false;
    if ((await realpath(next).catch(() => next)) === wanted) return true;
    path = next;
  }
  return false;
}

async function baseOf(path: string): Promise<string | undefined> {
  try {
    await using file = await VolumeFile.open(path, "read");
    const image = readQcow2Header(await file.read(0, QCOW2_HEADER_AREA));
    if (image.kind !== "qcow2" || image.header.backing === undefined) return undefined;
    const name = image.header.backing.name.toString().replace(/^file:/, "");
    return resolve(dirname(await realpath(path)), name);
  } catch {
    return undefined;
  }
}
