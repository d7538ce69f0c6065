import { join } from "node:path";
import { readFileSync } from "node:fs";
import { ifThere } from "../../../fs/if-there.js";

/** What dpkg knows of the package's files: one path a line. */
const FILE_LIST = "var/lib/dpkg/info/luksmith.list";
/** Its unit, which needs no writing. */
export const PACKAGE_TIMER = "usr/lib/systemd/system/luksmith-reap.timer";

/** Whose the files in PVE's directories are: the Debian package's, if dpkg lists `path`. */
export function isOfPackage(root: string, path: string): boolean {
  const list = ifThere(() => readFileSync(join(root, FILE_LIST), "utf8")) ?? "";
  return list.split("\n").some((line) => line !== "" && join(root, line) === path);
}
