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
 * Whether the QEMU daemon has run since before `time` (milliseconds since 1970), and so may know of no hook that came
 * then: whether it has reloaded since, nobody can see. A daemon that does not run has nothing to notice.
 */
export function daemonIsOlderThan(time: number, root: string): boolean {
  const read = (path: string) => readFileSync(join(root, path), "utf8");
  try {
    const stat = read(`proc/${read(`run/${daemonOf(root)}.pid`).trim()}/stat`);
    // proc_pid_stat(5): field 22 is the start in ticks of 10 ms since boot; the name before may hold anything
    const ticks = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]);
    const boot = Number(/^btime (\d+)$/m.exec(read("proc/stat"))?.[1]);
    return boot * 1000 + ticks * 10 < time;
  } catch {
    return false;
  }
}

function daemonOf(root: string): "virtqemud" | "libvirtd" {
  // libvirt's clients decide so between the modular daemons and the monolithic one
  return existsSync(join(root, "run/libvirt/virtqemud-sock")) ? "virtqemud" : "libvirtd";
}
