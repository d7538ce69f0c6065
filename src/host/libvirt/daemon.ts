import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * What makes the QEMU daemon look for hooks again. It remembers from its start or last reload only whether there is
 * any hook of QEMU; which ones there are and what is in them it reads each time. Guests and secrets survive a reload.
 */
export function reloadCommand(root: string): string {
  const daemon = daemonOf(root);
  // sd_booted(3)
  const systemd = existsSync(join(root, "run/systemd/system"));
  return systemd ? `systemctl try-reload-or-restart ${daemon}` : `kill -HUP $(cat /run/${daemon}.pid)`;
}

/**
 * Does what `reloadCommand` says; `systemctl reload` sends the same signal. Returns the daemon's name, or undefined if
 * it does not run (then it will find the hooks when it starts) or cannot be found.
 */
export function reloadDaemon(root: string): string | undefined {
  // process numbers of another root mean other processes
  if (root !== "/") return undefined;
  const daemon = daemonOf(root);
  try {
    const pid = readFileSync(join(root, `run/${daemon}.pid`), "utf8").trim();
    // the number of a daemon that is gone may be somebody else's by now
    if (readFileSync(join(root, `proc/${pid}/comm`), "utf8").trim() !== daemon) return undefined;
    process.kill(Number(pid), "SIGHUP");
    return daemon;
  } catch {
    return undefined;
  }
}

/**
 * Whether the QEMU daemon has only just been started. It starts the guests that are marked for autostart before it
 * answers any client, so that their hooks must not wait for it.
 */
export function daemonIsStarting(root: string): boolean {
  const start = daemonStart(root);
  return start !== undefined && Date.now() - start < STARTING;
}

/** Milliseconds that a daemon with many guests may take until it answers. */
const STARTING = 120_000;

/** When the daemon was started, in milliseconds since 1970; undefined if it does not run. */
function daemonStart(root: string): number | undefined {
  const read = (path: string) => readFileSync(join(root, path), "utf8");
  try {
    const stat = read(`proc/${read(`run/${daemonOf(root)}.pid`).trim()}/stat`);
    // proc_pid_stat(5): field 22 is the start in ticks of 10 ms since boot; the name before may hold anything
    const ticks = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]);
    const boot = Number(/^btime (\d+)$/m.exec(read("proc/stat"))?.[1]);
    return boot * 1000 + ticks * 10;
  } catch {
    return undefined;
  }
}

function daemonOf(root: string): "virtqemud" | "libvirtd" {
  // libvirt's clients decide so between the modular daemons and the monolithic one
  return existsSync(join(root, "run/libvirt/virtqemud-sock")) ? "virtqemud" : "libvirtd";
}
