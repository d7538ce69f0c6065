import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { errnoOf } from "../../error/luksmith-error.js";
import type { Listener } from "../../guest-config/own-listeners.js";

/** What `/proc` says about the sockets of one process: see proc_pid_net(5) and proc_pid_fd(5). */
export interface SocketTables {
  /** What the links of `/proc/PID/fd` say. */
  readonly descriptors: readonly string[];
  /** `/proc/PID/net/tcp`, and `tcp6` of a kernel that has IPv6. */
  readonly tcp: readonly string[];
  /** `/proc/PID/net/unix`. */
  readonly unix: string;
}

/** @throws if the process is gone, or /proc cannot be read */
export function readSocketTables(pid: number, proc = "/proc"): SocketTables {
  const directory = `${proc}/${pid}`;
  const table = (name: string) => readFileSync(`${directory}/net/${name}`, "utf8");
  return {
    descriptors: readdirSync(`${directory}/fd`).map((fd) => linkOf(`${directory}/fd/${fd}`)),
    tcp: [table("tcp"), optional(() => table("tcp6"))],
    unix: table("unix"),
  };
}

/**
 * Where the process listens, each place once: a port is one place for all of its addresses, since one listener can need
 * a socket for each of them. Undefined if the tables do not agree.
 */
export function listenersIn({ descriptors, tcp, unix }: SocketTables): Listener[] | undefined {
  const own = new Set(descriptors.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []));
  const found = [...tcp.flatMap(listeningPorts), ...listeningPaths(unix)].filter(({ inode }) =>
    own.has(inode),
  );
  // somebody's path with a line feed in it can look like a line of its own: then one inode is there twice
  if (new Set(found.map(({ inode }) => inode)).size < found.length) return undefined;
  return [...new Set(found.map(({ listener }) => listener))];
}

interface Found {
  readonly inode: string;
  readonly listener: Listener;
}

/** TCP_LISTEN of the kernel's tcp_states.h. */
const LISTEN = "0A";
const TCP_LINE = /^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} ([0-9A-F]{2})(?: +\S+){5} +(\d+)/;

function listeningPorts(table: string): Found[] {
  return table.split("\n").flatMap((line) => {
    const [, port = "", state, inode] = TCP_LINE.exec(line) ?? [];
    return state === LISTEN && inode !== undefined ? [{ inode, listener: `tcp:${parseInt(port, 16)}` }] : [];
  });
}

/** `__SO_ACCEPTCON` of the kernel's net.h: the flag of a socket that listens. */
const ACCEPTS = 0x10000;
const UNIX_LINE =
  /^[0-9a-f]+: [0-9A-F]{8} [0-9A-F]{8} ([0-9A-F]{8}) [0-9A-F]{4} [0-9A-F]{2} +(\d+)(?: (.*))?$/;

function listeningPaths(table: string): Found[] {
  return table.split("\n").flatMap((line) => {
    const [, flags = "", inode, path = ""] = UNIX_LINE.exec(line) ?? [];
    const listens = (parseInt(flags, 16) & ACCEPTS) !== 0;
    return listens && inode !== undefined ? [{ inode, listener: `unix:${path}` }] : [];
  });
}

/** The link of a descriptor that was closed meanwhile is nobody's. */
function linkOf(path: string): string {
  return optional(() => readlinkSync(path));
}

function optional(read: () => string): string {
  try {
    return read();
  } catch (thrown) {
    if (errnoOf(thrown) === "ENOENT") return "";
    throw thrown;
  }
}
