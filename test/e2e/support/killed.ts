import { readdirSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { LuksmithHost } from "./luksmith-host.js";

/** A system call of a process: the n-th of this name that one of its threads makes, counted from 1 as strace does. */
export interface Call {
  readonly name: string;
  readonly n: number;
}

export interface Process {
  readonly argv: readonly string[];
  readonly stdin?: string;
}

/** What changes files, starts a program or takes note of its end. */
const CALLS = [
  ...["openat", "write", "pwrite64", "fsync", "fchmod", "mkdir", "rename", "link", "unlink"],
  ...["clone", "clone3", "vfork", "wait4", "exit_group"],
];
/** Of the calls above, those that tell by themselves that something was done; of the others, those on these paths. */
const MEANINGFUL = /^(?:clone|clone3|vfork|wait4|exit_group)$/;
const PATHS = /\/images\/|\/keystore|\/run\/luksmith|\/dev\/(?:mapper|dm-)/;

/** Runs the process to its end; the calls at which it could have been killed, in their order. */
export async function killPoints(host: LuksmithHost, process: Process): Promise<Call[]> {
  const log = join(host.libvirt.dir, "strace.log");
  const ended = await strace(host, process, ["-y", "-o", log]);
  if (ended !== "done") throw new Error("it does not even work when nobody kills it");
  const reached = new Set<string>();
  const counts = new Map<string, number>();
  const points: Call[] = [];
  for (const line of (await readFile(log, "utf8")).split("\n")) {
    const [, thread, name] = /^([0-9]+) +(\w+)\(/.exec(line) ?? [];
    if (thread === undefined || name === undefined) continue;
    const n = (counts.get(`${thread} ${name}`) ?? 0) + 1;
    counts.set(`${thread} ${name}`, n);
    // the first thread that comes so far is the one that is hit
    if (reached.has(`${name} ${n}`)) continue;
    reached.add(`${name} ${n}`);
    if (MEANINGFUL.test(name) || PATHS.test(line)) points.push({ name, n });
  }
  return points;
}

/** Runs the process and kills it when it makes this call, before the call is done. Waits for programs that it started. */
export async function runAndKill(
  host: LuksmithHost,
  process: Process,
  { name, n }: Call,
): Promise<"killed" | "done"> {
  const ended = await strace(host, process, [
    "-o",
    "/dev/null",
    "-e",
    `inject=${name}:signal=KILL:when=${n}`,
  ]);
  while (orphans(host).length > 0) await sleep(5);
  return ended;
}

const STARTED = new Set(["cp", "cryptsetup", "flock", "qemu-img", "virsh"]);

/** Programs of the host that Luksmith may have started. */
function orphans(host: LuksmithHost): string[] {
  const processes = readdirSync(host.inside("/proc")).filter((name) => /^[0-9]+$/.test(name));
  return processes.filter((pid) => STARTED.has(nameOf(host.inside(join("/proc", pid, "comm")))));
}

function nameOf(comm: string): string {
  try {
    return readFileSync(comm, "utf8").trim();
  } catch {
    // it has ended meanwhile
    return "";
  }
}

async function strace(
  host: LuksmithHost,
  { argv, stdin }: Process,
  options: string[],
): Promise<"killed" | "done"> {
  const [program = "", ...args] = argv;
  const { exitCode, stderr } = await host.libvirt.exec(
    [
      // file operations one after the other, and no threads of V8 that make calls of their own
      ...["env", "UV_THREADPOOL_SIZE=1", "strace", "-f", "-b", "execve", "-qq", "--seccomp-bpf"],
      ...["-e", "signal=none", "-e", `trace=${CALLS.join(",")}`, ...options],
      ...[program, "--v8-pool-size=0", ...args],
    ],
    stdin === undefined ? {} : { input: stdin },
  );
  if (exitCode === 0) return "done";
  if (exitCode === -1) return "killed";
  throw new Error(`it ended with exit code ${exitCode}: ${stderr}`);
}

/** `count` of the points, evenly, with the last one. */
export function someOf(points: readonly Call[], count: number): Call[] {
  if (points.length <= count) return [...points];
  return Array.from(
    { length: count },
    (_, index) => points[Math.floor(((index + 1) * points.length) / count) - 1]!,
  );
}
