import { createFile, makeDirectory, removeFile } from "../fs/atomic-file.js";
import { PRIVATE_DIRECTORY, PRIVATE_FILE, statGuarded } from "../fs/guarded-file.js";
import { systemErrorOf } from "../fs/system-error.js";
import type { GivenSecret } from "./given.js";

/**
 * Writes each secret to its file, for good; none if one cannot be written.
 * @throws PERMISSIONS_UNSAFE if others than root may write to `directory`, system errors
 */
export function writeSecrets(directory: string, secrets: readonly GivenSecret[]): void {
  if (secrets.length === 0) return;
  makeDirectory(directory, PRIVATE_DIRECTORY.mode);
  statGuarded(directory, PRIVATE_DIRECTORY);
  try {
    for (const { path, secret } of secrets) {
      const outcome = secret.use((bytes) => createFile(path, bytes, PRIVATE_FILE.mode));
      if (outcome === "exists") throw new Error(`a new name for a secret is taken: ${path}`);
    }
  } catch (thrown) {
    withdrawSecrets(secrets, () => "unused");
    throw thrown;
  }
}

/** After a save that failed. Never throws for what the file system says: what stays goes at the next save. */
export function withdrawSecrets(
  secrets: readonly GivenSecret[],
  use: (path: string) => "used" | "unused",
): void {
  for (const { path } of secrets) {
    try {
      if (use(path) === "unused") removeFile(path);
    } catch (thrown) {
      if (systemErrorOf(thrown) === undefined) throw thrown;
    }
  }
}
