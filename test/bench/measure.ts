import { fileURLToPath } from "node:url";
import type { LibvirtHost } from "../lab/libvirt-host.js";
import { RESULTS, runInUml } from "../lab/uml.js";
import { runProgram } from "./program.js";
import type { Findings } from "./row.js";
import type { Section } from "./section.js";

const INSIDE_ARGV = argvOf(new URL("inside.ts", import.meta.url));
const INSIDE_NODE_ARGV = argvOf(new URL("inside-node.ts", import.meta.url));
const NODE_SCRIPT = fileURLToPath(new URL("node-namespace.sh", import.meta.url));
const INSIDE_HOST_ARGV = argvOf(new URL("inside-host.ts", import.meta.url));

/**
 * Has a process within the host take the times, so that no nsenter is timed with them.
 * @throws with its standard error if anything that it timed did not work
 */
export async function measureOnHost(host: LibvirtHost, section: Section): Promise<Findings> {
  const { exitCode, stdout, stderr } = await host.exec([...INSIDE_ARGV, section, host.dir]);
  if (exitCode !== 0) throw new Error(`the bench of ${section} failed: ${stderr}`);
  return JSON.parse(stdout) as Findings;
}

/** In User-Mode Linux, whose files are all in memory. @throws as `measureOnHost` */
export async function measureInUml(section: Section): Promise<Findings> {
  return await runMeasure(section, [...INSIDE_ARGV, section, "/run/bench"]);
}

/** In mount namespaces that look like a node of Proxmox VE. @throws as `measureOnHost` */
export function measureOnNode(): Promise<Findings> {
  const argv = ["/usr/bin/unshare", "--mount", "--propagation", "private", "/bin/sh", NODE_SCRIPT] as const;
  return Promise.resolve(JSON.parse(runProgram({ argv: [...argv, ...INSIDE_NODE_ARGV] })) as Findings);
}

/** On a private libvirt host there. @throws as `measureOnHost` */
export async function measureOnHostInUml(section: Section): Promise<Findings> {
  return await runMeasure(section, [...INSIDE_HOST_ARGV, section]);
}

async function runMeasure(section: Section, argv: readonly string[]): Promise<Findings> {
  pinToOneProcessor();
  const script = `exec "$@" >${RESULTS}/findings`;
  const { exitCode, output, results } = await runInUml(["sh", "-c", script, "sh", ...argv], {
    timeout: 900_000,
    memory: "2G",
  });
  if (exitCode !== 0) throw new Error(`the bench of ${section} failed: ${output}`);
  return JSON.parse(results.get("findings") ?? "") as Findings;
}

function argvOf(program: URL): readonly string[] {
  return [process.execPath, "--import", import.meta.resolve("tsx"), fileURLToPath(program)];
}

/** User-Mode Linux has one processor: with two of the machine's, its threads spend their time waking each other. */
function pinToOneProcessor(): void {
  const taskset = ["/usr/bin/taskset", "--all-tasks", "--cpu-list", "--pid"] as const;
  const pid = String(process.pid);
  const allowed = /(\d+)\s*$/.exec(runProgram({ argv: [...taskset, pid] }))?.[1] ?? "0";
  runProgram({ argv: [...taskset, allowed, pid] });
}
