import { spawn } from "node:child_process";
import { FAILED, PASSED, type Tally } from "./tally.js";

export interface Ended {
  readonly exitCode: number;
  readonly stdout: string;
}

export interface Output extends Ended {
  /** All that is shown if the stage failed. */
  readonly output: string;
}

export interface Stage {
  readonly title: string;
  /** What runs: a program, or something else that waits for an end. What it throws is a failure, and is shown. */
  readonly command: readonly [string, ...string[]] | (() => Promise<Output>);
  /** How the end counts, where it is more than one passed or failed. What it throws is a failure, and is shown. */
  readonly count?: (ended: Ended) => Tally | Promise<Tally>;
}

/** Titles that stand on the last line, still without their result. */
let unfinished = "";

/**
 * Runs a stage: its title on stderr when it starts, its result and duration when it ends, all its output if it
 * fails. `.ci/prepare` prints the same lines while there is no TypeScript yet. Of stages that run beside each other,
 * a title is repeated with its result where another line came between.
 */
export async function runStage({ title, command, count = asOne }: Stage): Promise<Tally> {
  const started = performance.now();
  process.stderr.write(`${unfinished === "" ? "" : "\n"}${title.padEnd(40)}`);
  unfinished = title;
  let tally = FAILED;
  let output = "";
  let complaint = "";
  try {
    const ended = await (typeof command === "function" ? command() : runProgram(command));
    output = ended.output;
    tally = await count(ended);
  } catch (thrown) {
    complaint = `${thrown instanceof Error ? thrown.message : String(thrown)}\n`;
  }
  const result = tally.failed === 0 ? "ok" : "FAILED";
  const seconds = Math.round((performance.now() - started) / 1000);
  const tests = tally.passed > 1 ? `   ${tally.passed} passed` : "";
  if (unfinished !== title) process.stderr.write(`${unfinished === "" ? "" : "\n"}${title.padEnd(40)}`);
  unfinished = "";
  process.stderr.write(`${result.padEnd(7)}${String(seconds).padStart(5)} s${tests}\n`);
  if (tally.failed > 0) process.stderr.write(`${output}${complaint}`);
  return tally;
}

function asOne({ exitCode }: Ended): Tally {
  return exitCode === 0 ? PASSED : FAILED;
}

/** Who stops us stops the stage as well, and lets it clean up. */
const STOPPING = ["SIGINT", "SIGTERM"] as const;

/** Runs a program to its end. */
export function runProgram([program, ...args]: readonly [string, ...string[]]): Promise<Output> {
  return new Promise((resolve, reject) => {
    // CI=true alone would colour what goes to a file
    // and with io_uring, which it may use by default, Node refuses the seteuid of tests that are not root for a moment
    const env = { NO_COLOR: "1", UV_USE_IO_URING: "0", ...process.env };
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], env });
    const stdout: Buffer[] = [];
    const output: Buffer[] = [];
    child.stdout.on("data", (data: Buffer) => {
      stdout.push(data);
      output.push(data);
    });
    child.stderr.on("data", (data: Buffer) => output.push(data));
    const stop = (signal: NodeJS.Signals) => {
      child.kill(signal);
      child.once("close", () => process.kill(process.pid, signal));
    };
    for (const signal of STOPPING) process.once(signal, stop);
    child.once("error", reject);
    child.once("close", (code) => {
      for (const signal of STOPPING) process.removeListener(signal, stop);
      resolve({
        exitCode: code ?? 1,
        stdout: Buffer.concat(stdout).toString(),
        output: Buffer.concat(output).toString(),
      });
    });
  });
}
