import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { setTimeout } from "node:timers/promises";
import { LuksmithError } from "../../../error/luksmith-error.js";
import type { CommandResult, CommandRunner } from "../../../exec/command-runner.js";
import { findTool, toolPath } from "../../../exec/tools.js";
import { ifThere } from "../../../fs/if-there.js";
import { type KeyUuid, parseKeyUuid } from "../../../keystore/key-uuid.js";
import type { QemuNode } from "../../../storage/storage-backend.js";
import type { ExportPlace } from "./export-place.js";

/** Of the node that is exported. */
export const NODE = "volume";
/** Its descriptor for the file with the passphrase: the first one that it inherits. */
export const PASSPHRASE_FD = 3;

/** Beside readers, no lock is taken: theirs are against every writer, and nobody else must write meanwhile. */
export type Access = "read" | "read-write" | "read-write beside readers";

export interface StartRequest {
  readonly place: ExportPlace;
  readonly key: KeyUuid;
  /** Opens the decrypted volume with the secret `secretOf(key)`. */
  readonly node: QemuNode;
  readonly access: Access;
  /** An unnamed file with the passphrase. */
  readonly passphrase: number;
}

/** Name of the secret object; the running daemon's argv tells by it which volume it has. */
export function secretOf(key: KeyUuid): string {
  return `key-${key}`;
}

/**
 * Starts a storage daemon that shows the node as the file `place.image`, which must be there. It has done so when this
 * returns. It lives on without us; under systemd also without the service that we belong to.
 * @returns how it answered: exit code 0, or what it could not do
 */
export async function startDaemon(runner: CommandRunner, request: StartRequest): Promise<CommandResult> {
  const args = argumentsFor(request);
  const command = { fds: [request.passphrase], answers: [1] };
  if (existsSync("/run/systemd/system") && findTool("systemd-run") !== undefined) {
    const daemon = ["--", toolPath("qemu-storage-daemon"), ...args];
    const answer = await runner.run({
      ...command,
      tool: "systemd-run",
      args: [...scopeFor(request.place), ...daemon],
    });
    // one that systemd cannot give a scope still does its work, until the service it belongs to is restarted
    if (!/^Failed to (?:start transient|connect to|create) /m.test(answer.stderr)) return answer;
  }
  return await runner.run({ ...command, tool: "qemu-storage-daemon", args });
}

/** When the host is shut down, guests that use the file go first: they are ended by these services. */
const GUESTS_ENDED_BY = "Before=pve-guests.service pve-ha-lrm.service";

function scopeFor({ unit, label }: ExportPlace): string[] {
  const kind = ["--scope", "--quiet", "--collect", `--unit=${unit}`, "--slice=luksmith.slice"];
  return [...kind, `--description=Luksmith export of ${label}`, `--property=${GUESTS_ENDED_BY}`];
}

function argumentsFor({ place, key, node, access }: StartRequest): string[] {
  const writable = access === "read" ? "off" : "on";
  const shown = `mountpoint=${place.image},writable=${writable},growable=${writable},allow-other=off`;
  return [
    ...["--object", `secret,id=${secretOf(key)},file=/proc/self/fd/${PASSPHRASE_FD}`],
    ...["--blockdev", JSON.stringify({ ...guarded(node, access), "node-name": NODE })],
    ...["--chardev", `socket,id=qmp,path=${place.socket},server=on,wait=off`],
    ...["--monitor", "chardev=qmp"],
    ...["--export", `type=fuse,id=export,node-name=${NODE},${shown}`],
    ...["--pidfile", place.pidFile, "--daemonize"],
  ];
}

/**
 * Past the host's page cache, like the guests of Proxmox VE: another host of shared storage sees what was written. And
 * nobody else may write: by itself, QEMU's luks driver shares with all who share. blkdebug is what can be told not to.
 */
function guarded(node: QemuNode, access: Access): object {
  const options = { cache: { direct: true, "no-flush": false }, "read-only": access === "read" };
  const { file } = node;
  if (typeof file !== "object" || Array.isArray(file)) return { ...node, ...options };
  const base = file as QemuNode;
  const hasLocks = base["driver"] === "file" || base["driver"] === "host_device";
  if (!hasLocks) return { ...node, ...options, file: { ...base, ...options } };
  // QEMU as Proxmox VE builds it takes locks only when it is told to
  const image = { ...base, ...options, locking: access === "read-write beside readers" ? "off" : "on" };
  if (access !== "read-write") return { ...node, ...options, file: image };
  const alone = { driver: "blkdebug", "unshare-child-perms": ["write", "resize"], ...options };
  return { ...node, ...options, file: { ...alone, image } };
}

/** A process that serves an export, or is about to. */
export interface Daemon {
  readonly pid: number;
  readonly key: KeyUuid;
  /** Tells of which export. */
  readonly pidFile: string;
}

/**
 * The processes of the export's daemon, by what they were started with: usually one, several while it starts, none if
 * it is dead. Pid files alone do not tell: processes of other programs get the same numbers.
 */
export function daemonsOf({ pidFile }: ExportPlace): Daemon[] {
  const pid = ifThere(() => readFileSync(pidFile, "latin1"))?.trimEnd();
  const known = pid !== undefined && /^[1-9][0-9]{0,9}$/.test(pid) ? daemonAt(Number(pid)) : undefined;
  if (known?.pidFile === pidFile) return [known];
  return allDaemons().filter((daemon) => daemon.pidFile === pidFile);
}

/** The processes of all exports' daemons. */
export function allDaemons(): Daemon[] {
  const pids = readdirSync("/proc").filter((name) => /^[0-9]+$/.test(name));
  return pids.flatMap((candidate) => daemonAt(Number(candidate)) ?? []);
}

function daemonAt(pid: number): Daemon | undefined {
  // of a process that has ended and is not reaped yet, it is empty
  const argv = (ifThere(() => readFileSync(`/proc/${pid}/cmdline`, "utf8")) ?? "").split("\0");
  if (!argv.some((word) => basename(word) === "qemu-storage-daemon")) return undefined;
  const pidFile = argv[argv.indexOf("--pidfile") + 1];
  const secret = argv[argv.indexOf("--object") + 1] ?? "";
  const key = parseKeyUuid(/^secret,id=key-([^,]*),/.exec(secret)?.[1] ?? "");
  return key === undefined || pidFile === undefined ? undefined : { pid, key, pidFile };
}

const PAUSE = 10;

/** Waits until `condition` holds. @returns whether it came to that within the milliseconds */
export async function within(milliseconds: number, condition: () => boolean): Promise<boolean> {
  for (let waited = 0; !condition(); waited += PAUSE) {
    if (waited >= milliseconds) return false;
    await setTimeout(PAUSE);
  }
  return true;
}

/** Milliseconds until a harsher word. What was written is flushed by then, unless the storage hangs. */
const PATIENCE = { SIGTERM: 10_000, SIGKILL: 5000 } as const;

/** Ends a daemon that does not listen, or not any more. @throws VOLUME_BUSY if the kernel does not let go of it */
export async function killDaemon(place: ExportPlace): Promise<void> {
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    for (const { pid } of daemonsOf(place)) ifThere(() => process.kill(pid, signal));
    if (await within(PATIENCE[signal], () => daemonsOf(place).length === 0)) return;
  }
  throw new LuksmithError("VOLUME_BUSY", {
    what: `cannot end the export of volume ${place.label}`,
    why: "its storage daemon waits for the storage, and cannot be killed",
    hint: "see why the storage does not answer: dmesg",
  });
}
