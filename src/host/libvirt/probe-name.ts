import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { PROBE_PREFIX } from "../../guest-config/probe-metadata.js";

const NAME = new RegExp(`^${PROBE_PREFIX}([0-9a-f]{12})-(\\d+)-(\\d+)-[0-9a-f]{8}$`);

/** A name for a probe that says whose it is: this machine's and this process's. */
export function newProbeName(): string {
  const owner = `${machine()}-${process.pid}-${startOf(process.pid) ?? 0}`;
  return `${PROBE_PREFIX}${owner}-${randomBytes(4).toString("hex")}`;
}

/** Whether it is the name of a probe that a process of this machine left when it was killed. */
export function isLeftBehind(name: string): boolean {
  const [, owner, pid, start] = NAME.exec(name) ?? [];
  return owner !== undefined && owner === machine() && startOf(Number(pid)) !== start;
}

/** A digest, since machine-id(5) asks not to show the id itself to others. */
function machine(): string {
  return createHash("sha256").update(`luksmith ${machineId()}`).digest("hex").slice(0, 12);
}

function machineId(): string {
  try {
    return readFileSync("/etc/machine-id", "utf8").trim();
  } catch {
    // one that lacks it is told by what it has until it boots again
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  }
}

/** In ticks since boot: with it, a process number means one process. Undefined if there is none. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // proc_pid_stat(5): field 22; the name before may hold anything
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
}
