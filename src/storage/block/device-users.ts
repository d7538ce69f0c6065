import { type BigIntStats, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { ifThere } from "../../fs/if-there.js";

/** A process that can write to a device. */
export interface DeviceUser {
  readonly pid: number;
  /** The name of its program, of at most 15 characters. */
  readonly command: string;
}

/**
 * Who has a block device open for writing, besides this process and its children. QEMU's locks do not tell: they lie on
 * the device's node, and libvirt gives each guest a node of its own. What the kernel itself uses (file systems, other
 * devices) is not among them: an exclusive open tells about that.
 * @param device its number, as stat(2) has it
 */
export function writersOf(device: bigint): DeviceUser[] {
  return usersOf(({ info, path, isSlow }) => {
    if (!isForWriting(info) || isSlow) return false;
    const stats = statsOf(path);
    return stats?.isBlockDevice() === true && stats.rdev === device;
  });
}

/**
 * Who has a file open for writing, and which QEMU has it open at all, besides this process and its children: one that
 * takes no locks (Proxmox VE's, by itself) is seen by nobody else. Of other hosts nothing is known here.
 */
export function fileUsersOf({ dev, ino }: Pick<BigIntStats, "dev" | "ino">): DeviceUser[] {
  const inode = new RegExp(`^ino:\\s*${ino}$`, "m");
  return usersOf(
    ({ info, path, isSlow }) => {
      // Linux < 5.14 does not tell the inode there, and to ask for it could hang
      if (/^ino:/m.test(info) ? !inode.test(info) : isSlow) return false;
      const stats = statsOf(path);
      return stats?.dev === dev && stats.ino === ino;
    },
    (command, access) => access === "writes" || /^(?:kvm|qemu-)/.test(command),
  );
}

interface Descriptor {
  readonly path: string;
  /** Of proc(5)'s fdinfo. */
  readonly info: string;
  readonly isSlow: boolean;
}

/** @param isWho among those who have what was found */
function usersOf(
  isIt: (descriptor: Descriptor) => boolean,
  isWho: (command: string, access: "reads" | "writes") => boolean = () => true,
): DeviceUser[] {
  const pids = numbersIn("/proc").filter((pid) => pid !== process.pid);
  const slowMounts = slowMountsOf(pids);
  return pids.flatMap((pid) => {
    const found = descriptorsOf(pid, slowMounts).filter(isIt);
    if (found.length === 0) return [];
    const status = readIfThere(`/proc/${pid}/status`);
    const field = (name: string) => new RegExp(`^${name}:\\t(.*)$`, "m").exec(status ?? "")?.[1];
    if (status === undefined || Number(field("PPid")) === process.pid) return [];
    const command = field("Name") ?? "";
    const access = found.some(({ info }) => isForWriting(info)) ? "writes" : "reads";
    return isWho(command, access) ? [{ pid, command }] : [];
  });
}

function descriptorsOf(pid: number, slowMounts: ReadonlySet<string>): Descriptor[] {
  return numbersIn(`/proc/${pid}/fd`).flatMap((fd): Descriptor[] => {
    const path = `/proc/${pid}/fd/${fd}`;
    // what has no path, a socket for instance, is neither a device nor a file
    if (ifThere(() => readlinkSync(path))?.startsWith("/") !== true) return [];
    const info = readIfThere(`/proc/${pid}/fdinfo/${fd}`) ?? "";
    const isSlow = slowMounts.has(/^mnt_id:\s*(\d+)$/m.exec(info)?.[1] ?? "");
    return [{ path, info, isSlow }];
  });
}

function statsOf(path: string): BigIntStats | undefined {
  return ifThere(() => statSync(path, { bigint: true }));
}

/** The lowest two bits of open(2)'s flags, which Linux prints in octal: 0 is O_RDONLY. */
function isForWriting(fdinfo: string): boolean {
  const flags = /^flags:\s*([0-7]+)$/m.exec(fdinfo)?.[1];
  return flags !== undefined && (Number.parseInt(flags, 8) & 0b11) !== 0;
}

/** File systems whose server can be gone, and who asks about a file waits for it for ever; no host has its devices there. */
const SLOW = /^(?:nfs|nfs4|cifs|smb3|ceph|9p|afs|lustre|fuse|fuse\..*)$/;

/** The IDs of such mounts, whoever sees them: the kernel gives none of them twice. */
function slowMountsOf(pids: readonly number[]): ReadonlySet<string> {
  const namespaces = new Map(pids.map((pid) => [ifThere(() => readlinkSync(`/proc/${pid}/ns/mnt`)), pid]));
  const lines = [...namespaces.values()].flatMap((pid) =>
    (readIfThere(`/proc/${pid}/mountinfo`) ?? "").split("\n"),
  );
  // proc(5): the mount's ID is the first field, and the type the first one behind the lonely dash
  return new Set(
    lines
      .filter((line) => SLOW.test(/ - (\S+)/.exec(line)?.[1] ?? ""))
      .map((line) => line.split(" ", 1)[0] ?? ""),
  );
}

function numbersIn(directory: string): number[] {
  const names = ifThere(() => readdirSync(directory)) ?? [];
  return names.filter((name) => /^[0-9]+$/.test(name)).map(Number);
}

function readIfThere(path: string): string | undefined {
  return ifThere(() => readFileSync(path, "utf8"));
}
