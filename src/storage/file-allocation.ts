import { type FileHandle, open, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { LuksmithError } from "../error/luksmith-error.js";
import { systemErrorOf } from "../fs/system-error.js";
import { volumeExists, volumeNotAllocated } from "./volume-error.js";

/**
 * Makes a new file, which only its owner can read, and has `fill` give it its content. Nothing is left of it when that
 * fails; a kill leaves a file that the next call reports as VOLUME_EXISTS.
 * @throws VOLUME_EXISTS, VOLUME_ALLOCATE_FAILED
 */
export async function allocateFile(path: string, fill: (file: FileHandle) => Promise<void>): Promise<void> {
  try {
    await using file = await open(path, "wx+", 0o600);
    try {
      await fill(file);
      await file.sync();
    } catch (thrown) {
      await unlink(path);
      throw thrown;
    }
    await using directory = await open(dirname(path), "r");
    await directory.sync();
  } catch (thrown) {
    if (thrown instanceof LuksmithError && thrown.code === "TOOL_FAILED")
      throw volumeNotAllocated(path, thrown.why ?? thrown.message);
    const error = systemErrorOf(thrown);
    if (error === undefined) throw thrown;
    throw error.code === "EEXIST" ? volumeExists(path) : volumeNotAllocated(path, error.text);
  }
}
