import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { errnoOf } from "../error/luksmith-error.js";
import { removeFile } from "../fs/atomic-file.js";
import { removeLeftovers } from "../fs/leftovers.js";

/** Where claims are, and who knows which mappings there are. */
export interface ClaimPlaces {
  readonly directory: string;
  /** By the kernel's word: /dev/mapper is what udev makes of it. */
  readonly isOpen: (mapping: string) => boolean;
}

export interface DamagedClaim {
  /** Of the mapping that it is about, as the file's name says. */
  readonly name: string;
  /** Whether a mapping of that name is open: then nobody knows whose it is. */
  readonly mapping: "open" | "absent";
}

/** Milliseconds; a younger file may be one that its writer has not finished. */
const SETTLED = 60_000;

/** Files among the claims that nobody can read. @param readable names of the claims that can be read */
export function damagedClaims(
  { directory, isOpen }: ClaimPlaces,
  readable: () => readonly string[],
): DamagedClaim[] {
  const names = namesIn(directory).filter((name) => isSettled(join(directory, name)));
  // read after the directory: a claim that came meanwhile is in this one only
  const whole = new Set(readable());
  return names
    .filter((name) => !whole.has(name) && isSettled(join(directory, name)))
    .map((name) => ({ name, mapping: isOpen(name) ? "open" : "absent" }));
}

/** Removes the file of a claim; idempotent. Only while nobody else can claim the mapping, or a fresh claim would go. */
export function forgetClaim({ directory }: ClaimPlaces, { name }: DamagedClaim): void {
  removeFile(join(directory, name));
}

/** Removes what killed writers of claims have left. */
export function removeUnfinishedClaims({ directory }: ClaimPlaces): void {
  if (namesIn(directory, "all").length > 0) removeLeftovers(directory);
}

/** Those of files that are being written begin with a dot. */
function namesIn(directory: string, which: "finished" | "all" = "finished"): string[] {
  try {
    return readdirSync(directory).filter((name) => which === "all" || !name.startsWith("."));
  } catch (thrown) {
    if (errnoOf(thrown) === "ENOENT") return [];
    throw thrown;
  }
}

/** False for a file that is gone, and for what is no file. */
function isSettled(path: string): boolean {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  return stats?.isFile() === true && Date.now() - stats.mtimeMs > SETTLED;
}
