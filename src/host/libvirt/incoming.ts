import { readFileSync } from "node:fs";
import { join } from "node:path";
import { errnoOf, LuksmithError } from "../../error/luksmith-error.js";
import { printable } from "../../error/printable.js";
import { quoted } from "../../guest-config/quoted.js";
import { type Listener, ownListeners } from "../../guest-config/own-listeners.js";
import type { Incoming, Opened } from "../guest-migration.js";
import type { Guest } from "../host-adapter.js";
import { openedVolumes } from "./opened-volumes.js";
import { listenersIn, readSocketTables } from "./listening-sockets.js";

/** In the root directory: where libvirt writes down the process of a running guest. */
const STATE_DIRECTORY = "run/libvirt/qemu";

/**
 * What a guest's QEMU waits for when libvirt calls the `started` hook: it listens for the memory, and for storage (NBD)
 * as well where that is copied, and has the volumes that are copied to open for writing. Nothing else tells: libvirt may
 * not be asked from a hook, and to connect would take the place of the source.
 * @throws TOOL_FAILED if it cannot be seen or is not clear
 */
export function incomingOf(guest: Guest, root = "/"): Incoming {
  const pid = processOf(guest, root);
  const commandLine = commandLineOf(pid, root);
  // one that starts here waits for nobody, whatever was noted about a migration before
  if (!commandLine.includes("-incoming")) return { brings: "nothing", opened: new Map() };
  const opened = inSight(guest, () => openedVolumes(guest, pid, root));
  return { brings: broughtTo(guest, pid, root), opened: believable(opened, commandLine) };
}

/** QEMU opens a volume read-only as long as it need not write only where it is told to; else nothing follows. */
function believable(opened: Map<string, Opened>, commandLine: readonly string[]): Incoming["opened"] {
  const isTold = commandLine.some((argument) => argument.includes('"auto-read-only":true'));
  return isTold ? opened : new Map();
}

function broughtTo(guest: Guest, pid: number, root: string): Incoming["brings"] {
  const listeners = inSight(guest, () => listenersIn(readSocketTables(pid, join(root, "proc"))));
  if (listeners === undefined) throw unclear(guest, "what /proc says about its sockets contradicts itself");
  const ofLibvirt = listenersOfLibvirt(listeners);
  if (ofLibvirt === undefined) throw unclear(guest, "its monitor is not where libvirt puts it");
  const own = ownListeners(guest.configuration);
  const foreign = listeners.filter((listener) => !own.has(listener) && !ofLibvirt.test(listener));
  // none: the memory comes through a pipe of libvirt's (a tunnelled migration), which cannot bring storage
  if (foreign.length <= 1) return "memory";
  if (foreign.length === 2) return "memory-and-storage";
  throw unclear(guest, `it listens on ${foreign.join(", ")}, and one cannot tell what for`);
}

const MONITOR = /^unix:\/.*(\/domain-\d+-[^/]*)\/monitor\.sock$/;

/**
 * The monitor, and whatever else is in a directory that libvirt makes for this run of the guest. Undefined without a
 * monitor: then what one of the others is for is not certain either.
 */
function listenersOfLibvirt(listeners: readonly Listener[]): RegExp | undefined {
  const [directory, another] = listeners.flatMap((listener) => MONITOR.exec(listener)?.[1] ?? []);
  if (directory === undefined || another !== undefined) return undefined;
  return new RegExp(`^unix:/.*${escapeRegExp(directory)}/[^/]+$`);
}

function escapeRegExp(text: string): string {
  return text.replace(/[^\w\s-]/g, String.raw`\$&`);
}

/** libvirt writes the name of that file as it writes text into XML: `a<b` is `a&lt;b.pid`. */
function processOf(guest: Guest, root: string): number {
  const names = [guest.name, quoted(guest.name).slice(1, -1)];
  const paths = [...new Set(names)].map((name) => join(root, STATE_DIRECTORY, `${name}.pid`));
  const pid = paths.map(pidIn).find((found) => found !== undefined && isQemuOf(guest, found, root));
  if (pid !== undefined) return pid;
  throw unclear(guest, `no process that ${paths.join(" or ")} names is its QEMU`);
}

function pidIn(path: string): number | undefined {
  const text = readOptional(path).trim();
  return /^[1-9]\d*$/.test(text) ? Number(text) : undefined;
}

/** The number that a file of an earlier time names can be somebody else's by now. */
function isQemuOf({ id }: Guest, pid: number, root: string): boolean {
  return commandLineOf(pid, root).includes(id);
}

function commandLineOf(pid: number, root: string): string[] {
  return readOptional(join(root, `proc/${pid}/cmdline`)).split("\0");
}

function readOptional(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (thrown) {
    if (errnoOf(thrown) === undefined) throw thrown;
    return "";
  }
}

function inSight<Result>(guest: Guest, look: () => Result): Result {
  try {
    return look();
  } catch (thrown) {
    if (errnoOf(thrown) === undefined) throw thrown;
    throw unclear(guest, thrown instanceof Error ? thrown.message : String(thrown), thrown);
  }
}

function unclear(guest: Guest, why: string, cause?: unknown): LuksmithError {
  return new LuksmithError("TOOL_FAILED", {
    what: `cannot see what the QEMU of guest ${printable(guest.name)} waits for`,
    why,
    hint: "the guest runs on at its source; see whether libvirt here is as its package installs it, and try again",
    cause,
  });
}
