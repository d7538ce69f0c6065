import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ifThere } from "../../fs/if-there.js";

/** Where Proxmox VE has its cluster file system, and nobody else anything. */
const CLUSTER = "/etc/pve";
const MANAGER = "usr/share/perl5/PVE/QemuServer.pm";

/** Whether Proxmox VE manages the guests of this host, also while its cluster file system is not mounted. */
export function isProxmoxHost(root = "/"): boolean {
  return existsSync(join(root, MANAGER)) || isMounted(join(root, CLUSTER));
}

function isMounted(path: string): boolean {
  const table = ifThere(() => readFileSync("/proc/self/mountinfo", "utf8")) ?? "";
  // the fifth field of proc_pid_mountinfo(5)
  return table.split("\n").some((line) => line.split(" ")[4] === path);
}
