import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ifThere } from "../../fs/if-there.js";
import type { ProxmoxPlaces } from "./places.js";

/**
 * A directory of host secrets. Its name, PID-STARTTIME-NUMBER, is of the process of Proxmox VE that starts the guest, or
 * gives it a disk while it runs: what that process does not take away, because it was killed, is known by it.
 */
export interface Start {
  readonly vmid: string;
  readonly name: string;
  readonly path: string;
}

const NAME = /^(?<pid>[1-9][0-9]{0,9})-(?<since>[0-9]{1,20})-[0-9]{1,10}$/;
const VMID = /^[1-9][0-9]{2,8}$/;

/** Of a guest, or of all guests of this host; none where nothing was ever provided. */
export function startsIn({ starts }: Pick<ProxmoxPlaces, "starts">, vmid?: string): Start[] {
  const vmids = vmid === undefined ? namesIn(starts).filter((name) => VMID.test(name)) : [vmid];
  return vmids.flatMap((id) =>
    namesIn(join(starts, id))
      .filter((name) => NAME.test(name))
      .map((name) => ({ vmid: id, name, path: join(starts, id, name) })),
  );
}

/** Whether the process is there still; one that has got the pid of another since is another process. */
export function isUnderWay({ name }: Pick<Start, "name">, proc = "/proc"): boolean {
  const { pid, since } = NAME.exec(name)?.groups ?? {};
  return pid !== undefined && since !== undefined && startTimeOf(pid, proc) === since;
}

export function pidOf({ name }: Pick<Start, "name">): number {
  return Number(NAME.exec(name)?.groups?.["pid"]);
}

/** Field 22 of /proc/PID/stat, proc_pid_stat(5); undefined for a process that is gone, or dead and not waited for. */
function startTimeOf(pid: string, proc: string): string | undefined {
  const stat = ifThere(() => readFileSync(join(proc, pid, "stat"), "latin1"));
  // the second field is the program's name in parentheses, with whatever it has in it
  const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields === undefined || fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19];
}

function namesIn(directory: string): string[] {
  return ifThere(() => readdirSync(directory)) ?? [];
}
