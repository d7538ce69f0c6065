import { readFileSync, realpathSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { errnoOf } from "../error/luksmith-error.js";
import { shellWord } from "../error/shell-word.js";

/** Where the host says what is to be mounted, and the kernel what is. */
export interface MountTables {
  readonly fstab: string;
  readonly mountinfo: string;
  /** What is mounted without being named there, once something is below it. */
  readonly known?: readonly string[];
}

/** Where Proxmox VE's cluster file system (pmxcfs) is mounted. */
const PMXCFS = "/etc/pve";

const HOST: MountTables = { fstab: "/etc/fstab", mountinfo: "/proc/self/mountinfo", known: [PMXCFS] };

/**
 * The mount point that `directory` belongs below by fstab(5) or by what is known, if nothing is mounted there now: what lies in the empty
 * mount point is not what the administrator means. Undefined if all is well, and for what fstab does not name: mount
 * units of systemd, ZFS. `noauto` entries count, since they name the place as well.
 */
export function missingMount(
  directory: string,
  { fstab, mountinfo, known = [] }: MountTables = HOST,
): string | undefined {
  const path = resolved(directory);
  // the second field of proc(5)'s fstab, the fifth of its mountinfo
  const wanted = [...pathsIn(fstab, 1), ...known]
    .map((mountPoint) => resolved(mountPoint))
    .filter((mountPoint) => mountPoint !== "/" && `${path}/`.startsWith(`${mountPoint}/`))
    .reduce((longest, mountPoint) => (mountPoint.length > longest.length ? mountPoint : longest), "");
  if (wanted === "" || pathsIn(mountinfo, 4).includes(wanted)) return undefined;
  return wanted;
}

/** For an error about it. */
export function notMounted(mountPoint: string): { readonly why: string; readonly hint: string } {
  if (mountPoint === PMXCFS) {
    return {
      why: `the cluster's file system ${mountPoint} is not mounted`,
      hint: "systemctl status pve-cluster says what is wrong with it",
    };
  }
  return {
    why: `its file system is not mounted: /etc/fstab names ${mountPoint}`,
    hint: `mount ${shellWord(mountPoint)}`,
  };
}

/** The paths in a table's column; a swap area's `none` is no path. No table names nothing. */
function pathsIn(table: string, column: number): string[] {
  return textOf(table)
    .split("\n")
    .filter((line) => !line.trimStart().startsWith("#"))
    .map((line) => line.trim().split(/[ \t]+/)[column] ?? "")
    .filter((field) => field.startsWith("/"))
    .map(unescaped);
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (thrown) {
    if (errnoOf(thrown) === "ENOENT") return "";
    throw thrown;
  }
}

/** White space and backslashes are in octal in both tables. */
function unescaped(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** Without symbolic links, as the kernel names it, as far down as there is something. */
function resolved(path: string): string {
  const plain = resolve(path);
  try {
    return realpathSync(plain);
  } catch (thrown) {
    const errno = errnoOf(thrown);
    if (errno === undefined) throw thrown;
    if (plain === "/") return plain;
    return join(resolved(dirname(plain)), basename(plain));
  }
}
