import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { LuksmithError } from "../error/luksmith-error.js";
import { createFile, removeFile } from "../fs/atomic-file.js";
import { PRIVATE_DIRECTORY, PRIVATE_FILE, statGuarded } from "../fs/guarded-file.js";
import { removeLeftovers } from "../fs/leftovers.js";
import { systemErrorOf } from "../fs/system-error.js";
import { filesNamedIn, replacedPins } from "./named-files.js";
import { isSecretFile, markOf, markedBy, secretInFile } from "./secret-names.js";

/** Milliseconds after which nobody works with the settings that named a file, or is about to name it. */
const GRACE = 3_600_000;

/** What a save has replaced; both are the texts of settings files. */
export interface Change {
  readonly former: string;
  readonly current: string;
}

/**
 * Removes the secrets that the settings have not named for an hour, and what killed writes left. Never throws for what
 * the file system says: what stays goes at a later save.
 *
 * The hour is for processes that read a secret at each login, by the path in the settings that they began with, and for
 * other nodes of a cluster, which may be about to name theirs. It begins with the save that finds the file unused, when
 * that makes an empty file beside it, its mark: the file's own time says when it was written. A PIN stays unless
 * another took its place: the master key may still be under the token that the former settings named (file/custody.ts).
 */
export function removeUnusedSecrets(directory: string, { former, current }: Change): void {
  try {
    if (statGuarded(directory, PRIVATE_DIRECTORY) === undefined) return;
    removeLeftovers(directory);
    const names = readdirSync(directory);
    const used = filesNamedIn(current);
    const replaced = replacedPins(former, current);
    // of a file that is in use again, or gone
    for (const mark of names.filter((name) => isNeedless(name, used, directory)))
      removeFile(join(directory, mark));
    const unused = names.filter((name) => !used.has(name) && isSecretFile(join(directory, name), directory));
    for (const name of unused.filter((one) => isOver(one, directory))) {
      removeFile(join(directory, name));
      removeFile(join(directory, markOf(name)));
    }
    for (const name of unused.filter((one) => secretInFile(one) !== "pin" || replaced.has(one))) {
      if (isSecretFile(join(directory, name), directory))
        createFile(join(directory, markOf(name)), Buffer.alloc(0), PRIVATE_FILE.mode);
    }
  } catch (thrown) {
    // a directory that is not root's alone is not ours
    if (systemErrorOf(thrown) === undefined && !(thrown instanceof LuksmithError)) throw thrown;
  }
}

function isNeedless(mark: string, used: ReadonlySet<string>, directory: string): boolean {
  const name = markedBy(mark);
  return name !== undefined && (used.has(name) || !isSecretFile(join(directory, name), directory));
}

/** Whether the file has been marked as unused for longer than anybody needs it. */
function isOver(name: string, directory: string): boolean {
  const mark = lstatSync(join(directory, markOf(name)), { throwIfNoEntry: false });
  return mark !== undefined && Date.now() - mark.mtimeMs > GRACE;
}
