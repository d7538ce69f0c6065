import { LuksmithError } from "../../error/luksmith-error.js";
import { printable } from "../../error/printable.js";
import type { Guest, UnderWay } from "../host-adapter.js";
import type { Virsh } from "./virsh.js";

/** States in which a domain's QEMU has not opened its volumes, or opens them anew. */
const STARTING: readonly string[] = ["paused (starting up)", "paused (migrating)"];

/** What libvirt calls jobs after which another QEMU opens the volumes. */
const LEAVING = /^Operation:\s+(?:Outgoing migration|Save)\s*$/m;

/** As HostAdapter has it. */
export async function underWay(
  virsh: Virsh,
  { id, name }: Pick<Guest, "id" | "name">,
): Promise<UnderWay | undefined> {
  const { stdout, errors } = await virsh.run(["domstate", "--reason", "--domain", id]);
  const state = stdout.trim();
  if (errors.length > 0) throw unseen(name, errors);
  if (STARTING.includes(state)) return "starting";
  if (!/^(?:running|paused|pmsuspended|in shutdown)/.test(state)) return undefined;
  const job = await virsh.run(["domjobinfo", "--domain", id]);
  // it has stopped meanwhile
  if (job.errors.some((error) => error.includes("domain is not running"))) return undefined;
  if (job.errors.length > 0) throw unseen(name, job.errors);
  return LEAVING.test(job.stdout) ? "leaving" : undefined;
}

function unseen(name: string, errors: readonly string[]): LuksmithError {
  return new LuksmithError("TOOL_FAILED", {
    what: `cannot see what guest ${printable(name)} is doing`,
    why: errors.join(": "),
  });
}
