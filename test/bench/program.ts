import { spawnSync, type SpawnSyncReturns } from "node:child_process";
import type { Action } from "./compare.js";

export interface Program {
  readonly argv: readonly [string, ...string[]];
  /** For its standard input, which is empty without it. */
  readonly input?: string;
  /** Open file descriptors for its 3, 4, … */
  readonly fds?: readonly number[];
}

/** What the shim leaves of an environment; `node -e 0` gets the same. */
export const ENVIRONMENT = { LC_ALL: "C", PATH: "/usr/sbin:/usr/bin:/sbin:/bin" };

export const NODE: Program = { argv: [process.execPath, "-e", "0"] };

/** From exec to exit. Its standard output. @throws unless it ends with exit code 0: a failure would be quick */
export function runProgram(program: Program): string {
  return run(program).stdout;
}

/** bash's `time` knows milliseconds and counts a program's children, if the program waits for them as ours do. */
const TIME = `TIMEFORMAT='%3R %3U %3S'; time "$@"`;

/** Whole milliseconds. */
export interface Times {
  /** From start to end. */
  readonly wall: number;
  /** Of the program and all that it starts. */
  readonly processor: number;
}

/** @throws as runProgram, and where the program says anything: it has no more to say than that something failed */
export function silentTimes({ argv, ...rest }: Program): Times {
  const { stdout, stderr } = run({ argv: ["/bin/bash", "-c", TIME, "bash", ...argv], ...rest });
  if (stdout !== "") throw new Error(`${argv[0]}: ${stdout.slice(0, 1000)}`);
  return timesIn(stderr);
}

/** Milliseconds of processor time of the program and all that it starts. @throws as runProgram */
export function processorTime({ argv, ...rest }: Program): number {
  return timesIn(run({ argv: ["/bin/bash", "-c", TIME, "bash", ...argv], ...rest }).stderr).processor;
}

function timesIn(stderr: string): Times {
  const [, real, user, system] = /([\d.]+) ([\d.]+) ([\d.]+)\n$/.exec(stderr) ?? [];
  return { wall: Number(real) * 1000, processor: (Number(user) + Number(system)) * 1000 };
}

function run({ argv: [file, ...args], input = "", fds = [] }: Program): SpawnSyncReturns<string> {
  const ended = spawnSync(file, args, {
    env: ENVIRONMENT,
    input,
    stdio: ["pipe", "pipe", "pipe", ...fds],
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
  });
  if (ended.status === 0) return ended;
  const why = ended.error?.message ?? `exit code ${ended.status}: ${ended.stderr}`;
  throw new Error(`${[file, ...args].join(" ")}: ${why}`);
}

export interface ProgramAction extends Action {
  /** What `run` runs; another one in each round where `before` makes it. */
  readonly program: () => Program;
}

export function programAction(
  program: Program | (() => Program),
  around: Pick<Action, "before" | "after"> = {},
): ProgramAction {
  const current = typeof program === "function" ? program : () => program;
  return { ...around, program: current, run: () => runProgram(current()) };
}

export function processorTimeOf({ program }: ProgramAction): number {
  return processorTime(program());
}
