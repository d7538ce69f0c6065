import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import type { Action } from "./compare.js";
import type { Memory } from "./row.js";

export interface Program {
  readonly argv: readonly [string, ...string[]];
  /** For its standard input, which is empty without it. */
  readonly input?: string;
  /** Open file descriptors for its 3, 4, … */
  readonly fds?: readonly number[];
}

/** What libvirtd and the shim leave of an environment. */
const ENVIRONMENT = { LC_ALL: "C", PATH: "/usr/sbin:/usr/bin:/sbin:/bin" };

/** From exec to exit. @throws unless it ends with exit code 0: a failure would be quick */
export function runProgram({ argv: [file, ...args], input = "", fds = [] }: Program): string {
  const { status, stdout, stderr, error } = spawnSync(file, args, {
    env: ENVIRONMENT,
    input,
    stdio: ["pipe", "pipe", "pipe", ...fds],
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
  });
  if (status === 0) return stdout;
  throw new Error(`${[file, ...args].join(" ")}: exit code ${status}: ${stderr} ${error?.message ?? ""}`);
}

export function programAction(program: Program, around: Omit<Action, "run"> = {}): Action {
  return { ...around, run: () => runProgram(program) };
}

export const NODE: Program = { argv: [process.execPath, "-e", "0"] };

/**
 * The largest resident set of the program and of each kind of process that it starts. The kernel keeps the high-water
 * mark while a process lives; reading it all the time misses the last moments at most.
 */
export async function peakMemory(
  subject: string,
  { argv: [file, ...args], input = "" }: Program,
): Promise<Memory[]> {
  const child = spawn(file, args, { env: ENVIRONMENT, stdio: ["pipe", "ignore", "inherit"] });
  child.stdin.end(input);
  const peaks = new Map<string, number>();
  while (child.exitCode === null && child.signalCode === null) {
    for (const { name, peak } of processesUnder(child.pid))
      peaks.set(name, Math.max(peaks.get(name) ?? 0, peak));
    await new Promise(setImmediate);
  }
  if (child.exitCode !== 0) throw new Error(`${file} ended with exit code ${child.exitCode}`);
  return [...peaks]
    .filter(([, peak]) => peak > 0)
    .map(([process, peak]) => ({ subject, process, peakMiB: peak / 1024 }))
    .sort((a, b) => b.peakMiB - a.peakMiB);
}

interface ProcessPeak {
  readonly name: string;
  /** KiB */
  readonly peak: number;
}

function processesUnder(pid: number | undefined): ProcessPeak[] {
  if (pid === undefined) return [];
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
    const name = /^Name:\s+(.*)$/m.exec(status)?.[1] ?? "";
    const peak = Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0);
    return [
      { name, peak },
      ...(children === "" ? [] : children.split(" ").flatMap((child) => processesUnder(Number(child)))),
    ];
  } catch {
    // it has ended meanwhile
    return [];
  }
}
