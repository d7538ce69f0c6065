import { lstatSync } from "node:fs";
import { shellWord } from "../error/shell-word.js";
import { fullName, type LvName, lvNameOf } from "../storage/lvm/lvm-name.js";

/** A key is never deleted before its volume: where nobody knows how that is removed, no command is said. */
export function removalOf(
  path: string,
  lv: LvName | undefined,
  uuid: string,
  when = "once the guest has run and has all its data:",
): string[] {
  const deletion = `luksmith keys delete ${uuid} --volume-is-gone`;
  const remove = removeCommand(path, lv);
  if (remove !== undefined) return [when, `  ${remove} && ${deletion}`];
  return [`${when} remove that volume with its storage's own tools, and after that`, `  ${deletion}`];
}

function removeCommand(path: string, lv: LvName | undefined): string | undefined {
  if (lv !== undefined) return `lvremove ${shellWord(lvNameOf(path) === undefined ? fullName(lv) : path)}`;
  const isFile = lstatSync(path, { throwIfNoEntry: false })?.isFile() === true;
  return isFile ? `rm ${shellWord(path)}` : undefined;
}
