import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { ifThere } from "../../../fs/if-there.js";

/** A mount as the kernel lists it. Nothing here asks the file system itself, whose server may be dead. */
export interface Mount {
  /** Of this very mount; the kernel gives none to two. */
  readonly id: string;
  /** `MAJOR:MINOR` of what is mounted, the same wherever else it is mounted. */
  readonly device: string;
  readonly type: string;
  readonly target: string;
  /** Of this very mount: `ro` or `rw`, and others. */
  readonly options: readonly string[];
}

/**
 * What is mounted on `path`, the topmost if there are several; undefined for a path as any other.
 * @param pid of a process that may have other mounts than this one
 */
export function mountOn(path: string, pid = "self"): Mount | undefined {
  return mountsOf(pid).findLast(({ target }) => target === path);
}

export interface MountUser {
  /** 0 for the kernel itself. */
  readonly pid: number;
  /** The name of its program, of at most 15 characters. */
  readonly command: string;
}

/** Who has a file of each mount open, or mapped into memory, or a loop device on it, in whatever namespace. */
export function usersOf(mounts: readonly Mount[]): ReadonlyMap<Mount, MountUser[]> {
  const users = new Map(mounts.map((mount): [Mount, MountUser[]] => [mount, []]));
  if (mounts.length === 0) return users;
  const all = mountsEverywhere();
  const sought = mounts.map((mount) => {
    const same = all.filter(({ device }) => device === mount.device);
    return { mount, ids: new Set(same.map(({ id }) => id)) };
  });
  // all processes with all they have open are looked through once
  for (const pid of processes()) {
    const [open, mapped] = [mountsHeldBy(pid), readIfThere(`/proc/${pid}/maps`)];
    for (const { mount, ids } of sought)
      if (open.some((id) => ids.has(id)) || mapped.includes(` ${inHexadecimal(mount.device)} `))
        users.get(mount)?.push({ pid: Number(pid), command: commandOf(pid) });
  }
  for (const mount of mounts)
    users.get(mount)?.push(...loopDevicesOn(mount.target).map((command) => ({ pid: 0, command })));
  return users;
}

/** The mounts of the files that a process has open. */
function mountsHeldBy(pid: string): string[] {
  return (ifThere(() => readdirSync(`/proc/${pid}/fd`)) ?? []).flatMap((fd) => {
    // most of them are sockets, pipes and the like, which are on no mount
    if (ifThere(() => readlinkSync(`/proc/${pid}/fd/${fd}`))?.startsWith("/") !== true) return [];
    const info = readIfThere(`/proc/${pid}/fdinfo/${fd}`);
    return /^mnt_id:\s*(\d+)$/m.exec(info)?.[1] ?? [];
  });
}

/** As /proc/PID/maps has it: `7f… r--p 00000000 00:29 1 /path`. */
function inHexadecimal(device: string): string {
  const numbers = device.split(":").map(Number);
  return numbers.map((number) => number.toString(16).padStart(2, "0")).join(":");
}

/** Of all namespaces that any process is in. */
function mountsEverywhere(): Mount[] {
  const namespaces = new Map(
    processes().map((pid) => [ifThere(() => readlinkSync(`/proc/${pid}/ns/mnt`)), pid]),
  );
  return [...namespaces.values()].flatMap((pid) => mountsOf(pid));
}

/** The kernel has their files open by itself. */
function loopDevicesOn(path: string): string[] {
  const names = ifThere(() => readdirSync("/sys/block")) ?? [];
  return names.filter((name) => readIfThere(`/sys/block/${name}/loop/backing_file`).trimEnd() === path);
}

/** proc(5): `ID PARENT MAJOR:MINOR ROOT TARGET OPTIONS… - TYPE SOURCE OPTIONS`; odd characters of paths in octal. */
function mountsOf(pid: string): Mount[] {
  return readIfThere(`/proc/${pid}/mountinfo`)
    .split("\n")
    .flatMap((line) => {
      const fields =
        /^(?<id>\d+) \d+ (?<device>\S+) \S+ (?<target>\S+) (?<options>\S+) (?:\S+ )*?- (?<type>\S+) /;
      const { id, device, target, options, type } = fields.exec(line)?.groups ?? {};
      if (id === undefined || device === undefined || target === undefined || type === undefined) return [];
      return [{ id, device, type, target: unescape(target), options: options?.split(",") ?? [] }];
    });
}

function unescape(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

function commandOf(pid: string): string {
  return readIfThere(`/proc/${pid}/comm`).trimEnd();
}

function processes(): string[] {
  return readdirSync("/proc").filter((name) => /^[0-9]+$/.test(name));
}

function readIfThere(path: string): string {
  return ifThere(() => readFileSync(path, "utf8")) ?? "";
}
