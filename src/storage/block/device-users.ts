import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
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
  const pids = numbersIn("/proc").filter((pid) => pid !== process.pid);
  const slowMounts = slowMountsOf(pids);
  return pids
    .filter((pid) => canWrite(pid, device, slowMounts))
    .flatMap((pid) => {
      const status = readIfThere(`/proc/${pid}/status`);
      const field = (name: string) => new RegExp(`^${name}:\\t(.*)$`, "m").exec(status ?? "")?.[1];
      if (status === undefined || Number(field("PPid")) === process.pid) return [];
      return [{ pid, command: field("Name") ?? "" }];
    });
}

function canWrite(pid: number, device: bigint, slowMounts: ReadonlySet<string>): boolean {
  return numbersIn(`/proc/${pid}/fd`).some((fd) => {
    const path = `/proc/${pid}/fd/${fd}`;
    // what has no path, a socket for instance, is no device
    if (ifThere(() => readlinkSync(path))?.startsWith("/") !== true) return false;
    const info = readIfThere(`/proc/${pid}/fdinfo/${fd}`) ?? "";
    if (!isForWriting(info) || slowMounts.has(/^mnt_id:\s*(\d+)$/m.exec(info)?.[1] ?? "")) return false;
    const stats = ifThere(() => statSync(path, { bigint: true }));
    return stats?.isBlockDevice() === true && stats.rdev === device;
  });
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
