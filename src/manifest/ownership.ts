import { lstatSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { PLUGIN_ROOT } from "./load.js";

/** In a directory with this bit only the owner of an entry can replace it: /tmp. */
const STICKY = 0o1000;
const WRITABLE_BY_OTHERS = 0o022;

/**
 * The first of Node, our code and the directories above them that somebody besides root can change: who can, is root
 * at the next start of a guest. Undefined if there is none.
 */
export function changeableByOthers(root = PLUGIN_ROOT, node = process.execPath): string | undefined {
  const ours = ["plugin.json", "dist", "dist/hooks", "dist/chunks", "dist/cli"].map((path) =>
    join(root, path),
  );
  return [node, ...ours].flatMap((path) => withParents(realpathSync(path))).find(isChangeable);
}

function withParents(path: string): string[] {
  const parent = dirname(path);
  return parent === path ? [path] : [...withParents(parent), path];
}

function isChangeable(path: string): boolean {
  const { uid, mode } = lstatSync(path);
  return uid !== 0 || ((mode & WRITABLE_BY_OTHERS) !== 0 && (mode & STICKY) === 0);
}
