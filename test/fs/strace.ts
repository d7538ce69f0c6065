import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { rolldown } from "rolldown";

/** What changes a file system, as libuv calls it. */
const CALLS = ["mkdir", "openat", "write", "fchmod", "fsync", "link", "rename", "unlink"];

/** The n-th call of this name that a thread makes since it is traced, counted from 1 as strace does. */
export interface Call {
  readonly name: string;
  readonly n: number;
}

export interface Outcome {
  readonly signal: NodeJS.Signals | null;
  /** What the driver printed when it was traced. */
  readonly printed: string;
  /** The calls that touched `watched`, in their order. */
  readonly calls: readonly Call[];
}

/** One file out of a driver, which starts faster than its TypeScript; one that `trace` runs calls `untilTraced` first. */
export async function bundle(source: string, directory: string): Promise<string> {
  const file = join(directory, "driver.cjs");
  const build = await rolldown({ input: source, platform: "node", transform: { target: "node20" } });
  await build.write({ file, format: "cjs", codeSplitting: false });
  await build.close();
  return file;
}

/**
 * Runs a driver under strace. `fault`: what happens to one of its calls, in strace's words; where the driver starts
 * programs, these stay out of it if `follow` says so.
 */
export async function trace(
  argv: readonly string[],
  {
    watched,
    log,
    fault,
    follow = "everything",
  }: {
    watched: string;
    log: string;
    fault?: Call & { readonly effect: string };
    follow?: "everything" | "main thread";
  },
): Promise<Outcome> {
  const driver = spawn(process.execPath, argv, { env: {}, stdio: ["pipe", "pipe", "inherit"] });
  await once(driver.stdout, "readable");
  const inject = fault === undefined ? [] : ["-e", `inject=${fault.name}:${fault.effect}:when=${fault.n}`];
  const options = [
    ...(follow === "everything" ? ["-f"] : []),
    "-y",
    "-o",
    log,
    "-e",
    `trace=${CALLS.join(",")}`,
    "-e",
    "signal=none",
    ...inject,
  ];
  const strace = spawn("strace", [...options, "-p", String(driver.pid)], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  // strace says that it has attached, and node's start-up, whose calls differ from time to time, is over
  await once(strace.stderr, "data");
  const ends = [once(driver, "exit"), once(strace, "exit")] as const;
  driver.stdin.end("go\n");
  const output = await text(driver.stdout);
  const [[, signal]] = (await Promise.all(ends)) as [[number | null, NodeJS.Signals | null], unknown];
  return {
    signal,
    printed: output.replace("ready\n", "").trim(),
    calls: callsIn(readFileSync(log, "utf8"), watched),
  };
}

function callsIn(log: string, watched: string): Call[] {
  const counts = new Map<string, number>();
  return log.split("\n").flatMap((line) => {
    // no process id where one thread alone is followed
    const [, thread = "", name] = /^(?:([0-9]+) +)?(\w+)\(/.exec(line) ?? [];
    if (name === undefined) return [];
    const n = (counts.get(`${thread} ${name}`) ?? 0) + 1;
    counts.set(`${thread} ${name}`, n);
    return line.includes(watched) ? [{ name, n }] : [];
  });
}
