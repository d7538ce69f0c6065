import { errnoOf, LuksmithError } from "../error/luksmith-error.js";
import { PRIVATE_FILE, readGuardedFile, statGuarded } from "../fs/guarded-file.js";
import { systemErrorOf } from "../fs/system-error.js";
import { hintForRefusal } from "../fs/write-refusal.js";

/** Undefined for no file, and for one that others could change: it is left out as a damaged one is. */
export function readIfSafe(path: string, limit: number): Buffer | undefined {
  return unlessUnsafe(() => readGuardedFile(path, PRIVATE_FILE, limit));
}

export function sizeIfSafe(path: string): number | undefined {
  return unlessUnsafe(() => statGuarded(path, PRIVATE_FILE)?.size);
}

function unlessUnsafe<T>(look: () => T | undefined): T | undefined {
  try {
    return look();
  } catch (thrown) {
    if (thrown instanceof LuksmithError && thrown.code === "PERMISSIONS_UNSAFE") return undefined;
    if (errnoOf(thrown) === "EIO") return undefined;
    throw thrown;
  }
}

/** What went wrong with the directory is HEADER_BACKUP_FAILED, in these words. */
export function asFailure(thrown: unknown, what: string): unknown {
  if (thrown instanceof LuksmithError && thrown.code !== "NOT_PERMITTED") {
    const { why, hint } = thrown;
    return new LuksmithError("HEADER_BACKUP_FAILED", {
      what,
      why: why === undefined ? thrown.message : `${thrown.message}: ${why}`,
      ...(hint === undefined ? {} : { hint }),
      cause: thrown,
    });
  }
  const error = systemErrorOf(thrown);
  if (error === undefined) return thrown;
  return new LuksmithError("HEADER_BACKUP_FAILED", { what, why: error.text, ...hintForRefusal(error) });
}

/** NOT_PERMITTED */
export function asRefusal(thrown: unknown, directory: string): unknown {
  const error = systemErrorOf(thrown);
  if (error === undefined) return thrown;
  return new LuksmithError("NOT_PERMITTED", {
    what: `cannot look for copies of LUKS headers in ${directory}`,
    why: error.text,
    hint: "run luksmith as root",
  });
}
