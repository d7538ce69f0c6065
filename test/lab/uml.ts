import { execa } from "execa";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";

export interface UmlRun {
  readonly exitCode: number;
  /** What the command wrote to stdout and stderr. */
  readonly output: string;
  /** What it left in RESULTS, by name. */
  readonly results: ReadonlyMap<string, string>;
}

export interface UmlOptions {
  /** Milliseconds from boot to the end; 120 000 without it. */
  readonly timeout?: number;
  /** The machine's memory, also for files: everything that is written there is in memory. */
  readonly memory?: string;
  /** Image files that it has as /dev/ubda, /dev/ubdb, …: what reaches them outlives it. */
  readonly disks?: readonly string[];
  /** Image files that come after `disks`, and that other machines may have at the same time. */
  readonly sharedDisks?: readonly string[];
  /** What it has as vec0. */
  readonly network?: UmlNetwork;
  /** Is told where RESULTS is to be seen from outside as long as the machine runs. */
  readonly booting?: (results: string) => void;
  /** Variables of the command beside PATH, HOME and LC_ALL. */
  readonly env?: Readonly<Record<string, string>>;
}

/** An interface outside: its other end is what the machine is connected to. */
export interface UmlNetwork {
  /** File of a network namespace that has nothing to say: frames do not pass its own IP. */
  readonly namespace: string;
  /** An interface there, of which the machine takes what arrives. */
  readonly interface: string;
}

/** A directory in User-Mode Linux; what the command leaves there comes out with it. */
export const RESULTS = "/run/uml/results";

const NAMESPACE = fileURLToPath(new URL("uml-namespace.sh", import.meta.url));
const ENVIRONMENT = { LC_ALL: "C", PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" };

/**
 * Boots User-Mode Linux, a real kernel with device-mapper, runs a command in it as root in the working directory, and
 * waits for its end. The command sees the files of this machine and cannot change them: what it writes is in memory,
 * and goes with the kernel, unless it is on one of `disks`. Nothing of this outlives the call, or this process, whatever way that ends.
 *
 * Needs root, and the packages user-mode-linux, kmod, gcc, libc6-dev, iproute2.
 * @throws if the kernel dies or the time is over, with what the command and the kernel said until then
 */
export async function runInUml(argv: readonly string[], options: UmlOptions = {}): Promise<UmlRun> {
  const { timeout = 120_000, env = {}, booting } = options;
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const machine = boot(["exec", "env", ...variables, ...argv].map(quote).join(" "), options);
  const late = setTimeout(timeout, `it did not end within ${timeout / 1000} s`, { ref: false });
  try {
    let pid = "";
    const ended = new Promise<string>((resolve) => {
      const lines = createInterface(machine.stdout);
      lines.on("line", (line) => {
        if (line === "ended") {
          resolve("its kernel died");
        } else {
          pid = line;
          booting?.(resultsOf(pid));
        }
      });
      lines.once("close", () => resolve("it could not be started"));
    });
    const complaint = await Promise.race([ended, late]);
    const results = await readResults(resultsOf(pid));
    const output = results.get("output") ?? "";
    const exitCode = /^\d+(?=\n)/.exec(results.get("exit-code") ?? "")?.[0];
    if (exitCode !== undefined) return { exitCode: Number(exitCode), output, results };
    machine.stdin.end();
    const { stderr } = await machine;
    throw new Error(`User-Mode Linux: ${complaint}\n${output}its console:\n${tail(stderr)}`);
  } finally {
    machine.stdin.end();
    await machine;
  }
}

/** The machine ends when its standard input does, and that is when we end, if not before. */
function boot(command: string, { memory = "1G", disks = [], sharedDisks = [], network }: UmlOptions) {
  const namespace = ["--mount", "--pid", "--fork", "--kill-child", "--propagation=private"];
  const devices = [
    ...disks.map((path, index) => `ubd${index}=${path}`),
    ...sharedDisks.map((path, index) => `ubd${disks.length + index}c=${path}`),
    // without gro it drops what the other end sends in one piece
    ...(network === undefined ? [] : [`vec0:transport=raw,ifname=${network.interface},gro=1`]),
  ];
  const [program = "", ...argv] = [
    ...(network === undefined ? [] : ["nsenter", `--net=${network.namespace}`, "--"]),
    ...["unshare", ...namespace, "sh", NAMESPACE, memory, command, ...devices],
  ];
  return execa(program, argv, {
    env: ENVIRONMENT,
    extendEnv: false,
    // not in our process group: an interrupt of the terminal would end it in the middle
    detached: true,
    reject: false,
    stdin: "pipe",
  });
}

function resultsOf(pid: string): string {
  return `/proc/${pid}/root${RESULTS}`;
}

async function readResults(directory: string): Promise<Map<string, string>> {
  const names = await readdir(directory).catch(() => []);
  const contents = names.map(async (name) => [name, await readFile(join(directory, name), "utf8")] as const);
  return new Map(await Promise.all(contents));
}

function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

function tail(text: string): string {
  return text.split("\n").slice(-40).join("\n");
}
