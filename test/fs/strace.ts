import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { rolldown } from "rolldown";

/** What changes a file system, as libuv calls it. */
const CALLS = ["mkdir", "openat", "write", "pwrite64", "fchmod", "fsync", "link", "rename", "unlink"];

/** The n-th call of this name that a process makes, counted from 1 as strace does. */
export interface Call {
  readonly name: string;
  readonly n: number;
}

export interface Outcome {
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  /** The calls that touched `watched`, in their order. */
  readonly calls: readonly Call[];
}

/** One CommonJS file out of `source`: loading it takes few calls, and no thread besides the main one. */
export async function bundle(source: string, directory: string): Promise<string> {
  const file = join(directory, "driver.cjs");
  const build = await rolldown({ input: source, platform: "node", transform: { target: "node20" } });
  await build.write({ file, format: "cjs", codeSplitting: false });
  await build.close();
  return file;
}

/** Runs the node script under strace. `fault`: what happens to one call instead of it, in strace's words. */
export async function trace(
  argv: readonly string[],
  { watched, log, fault }: { watched: string; log: string; fault?: Call & { readonly effect: string } },
): Promise<Outcome> {
  const inject = fault && ["-e", `inject=${fault.name}:${fault.effect}:when=${fault.n}`];
  const options = ["-f", "-qq", "-y", "-o", log, "-e", `trace=${CALLS.join(",")}`, "-e", "signal=none"];
  return new Promise((resolve) => {
    execFile(
      "strace",
      // strace counts the calls of each thread: V8's own must not make any that are counted
      [...options, ...(inject ?? []), process.execPath, "--v8-pool-size=0", ...argv],
      { env: {} },
      (error, stdout) => {
        const calls = callsIn(readFileSync(log, "utf8"), watched);
        resolve({ signal: error?.signal ?? null, stdout: stdout.trim(), calls });
      },
    );
  });
}

function callsIn(log: string, watched: string): Call[] {
  const counts = new Map<string, number>();
  return log.split("\n").flatMap((line) => {
    const [, thread, name] = /^([0-9]+) +(\w+)\(/.exec(line) ?? [];
    if (thread === undefined || name === undefined) return [];
    const n = (counts.get(`${thread} ${name}`) ?? 0) + 1;
    counts.set(`${thread} ${name}`, n);
    return line.includes(watched) ? [{ name, n }] : [];
  });
}
