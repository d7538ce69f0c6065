import { readdirSync, readFileSync, readlinkSync, realpathSync, type Stats, statSync } from "node:fs";
import { basename } from "node:path";
import { ifThere } from "../../../fs/if-there.js";

/** A process that has a volume open. */
export interface Opener {
  readonly pid: number;
  /** The name of its program, of at most 15 characters. */
  readonly command: string;
  readonly access: "read" | "write";
}

/**
 * The other processes of this host that have a file or a block device open: QEMU need not have locked it, and by itself
 * Proxmox VE's does not. None for a path that is not there.
 */
export function openersOf(path: string): Opener[] {
  const target = ifThere(() => ({ name: basename(realpathSync(path)), stats: statSync(path) }));
  if (target === undefined) return [];
  const pids = readdirSync("/proc").filter((name) => /^[0-9]+$/.test(name) && Number(name) !== process.pid);
  return pids.flatMap((pid) => {
    const open = (ifThere(() => readdirSync(`/proc/${pid}/fd`)) ?? []).filter((fd) =>
      leadsTo(target, pid, fd),
    );
    if (open.length === 0) return [];
    const command = (ifThere(() => readFileSync(`/proc/${pid}/comm`, "utf8")) ?? "").trimEnd();
    const access = open.some((fd) => isForWriting(pid, fd)) ? "write" : "read";
    return [{ pid: Number(pid), command, access }];
  });
}

function leadsTo(
  { name, stats }: { readonly name: string; readonly stats: Stats },
  pid: string,
  fd: string,
): boolean {
  const path = `/proc/${pid}/fd/${fd}`;
  const link = ifThere(() => readlinkSync(path)) ?? "";
  // all else is not even asked: the file system of some of them may not answer
  if (!link.startsWith("/dev/") && basename(link) !== name) return false;
  const found = ifThere(() => statSync(path));
  if (stats.isBlockDevice()) return found?.isBlockDevice() === true && found.rdev === stats.rdev;
  return found?.dev === stats.dev && found.ino === stats.ino;
}

/** The flags of open(2), in octal: O_RDONLY is 0, O_WRONLY 1, O_RDWR 2. */
function isForWriting(pid: string, fd: string): boolean {
  const info = ifThere(() => readFileSync(`/proc/${pid}/fdinfo/${fd}`, "latin1")) ?? "";
  const flags = /^flags:\s*([0-7]+)$/m.exec(info)?.[1];
  return flags !== undefined && (Number.parseInt(flags, 8) & 0o3) !== 0;
}
