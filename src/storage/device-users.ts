import { readdirSync, readFileSync, statSync } from "node:fs";
import { errnoOf } from "../error/luksmith-error.js";

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
  return numbersIn("/proc")
    .filter((pid) => pid !== process.pid && canWrite(pid, device))
    .flatMap((pid) => {
      const status = readIfThere(`/proc/${pid}/status`);
      const field = (name: string) => new RegExp(`^${name}:\\t(.*)$`, "m").exec(status ?? "")?.[1];
      if (status === undefined || Number(field("PPid")) === process.pid) return [];
      return [{ pid, command: field("Name") ?? "" }];
    });
}

function canWrite(pid: number, device: bigint): boolean {
  return numbersIn(`/proc/${pid}/fd`).some((fd) => {
    const stats = ifThere(() => statSync(`/proc/${pid}/fd/${fd}`, { bigint: true }));
    return stats?.isBlockDevice() === true && stats.rdev === device && isForWriting(pid, fd);
  });
}

/** The lowest two bits of open(2)'s flags, which Linux prints in octal: 0 is O_RDONLY. */
function isForWriting(pid: number, fd: number): boolean {
  const flags = /^flags:\s*([0-7]+)$/m.exec(readIfThere(`/proc/${pid}/fdinfo/${fd}`) ?? "")?.[1];
  return flags !== undefined && (Number.parseInt(flags, 8) & 0b11) !== 0;
}

function numbersIn(directory: string): number[] {
  const names = ifThere(() => readdirSync(directory)) ?? [];
  return names.filter((name) => /^[0-9]+$/.test(name)).map(Number);
}

function readIfThere(path: string): string | undefined {
  return ifThere(() => readFileSync(path, "utf8"));
}

/** Processes and their files come and go; what is gone writes no more. */
function ifThere<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (thrown) {
    if (errnoOf(thrown) === undefined) throw thrown;
    return undefined;
  }
}
