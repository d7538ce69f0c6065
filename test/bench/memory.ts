import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { ENVIRONMENT, type Program } from "./program.js";
import type { Memory } from "./row.js";

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
    for (const { name, peak } of processesUnder(child.pid)) {
      peaks.set(name, Math.max(peaks.get(name) ?? 0, peak));
    }
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
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean);
    const name = /^Name:\s+(.*)$/m.exec(status)?.[1] ?? "";
    const peak = Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0);
    return [{ name, peak }, ...children.flatMap((child) => processesUnder(Number(child)))];
  } catch {
    // it has ended meanwhile
    return [];
  }
}
