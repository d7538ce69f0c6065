import { once } from "node:events";
import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import { setTimeout } from "node:timers/promises";
import { LuksmithError } from "../error/luksmith-error.js";
import { redact } from "../secret/secret.js";
import { type Tool, toolPath } from "./tools.js";

export interface Command {
  readonly tool: Tool;
  /** Never holds a secret: argv is public on the host. Options first, then `--`, then paths where the tool knows it. */
  readonly args: readonly string[];
  /** Open file descriptors for the child, as its 3, 4, …: it reads `/proc/self/fd/3`. The caller closes them. */
  readonly fds?: readonly number[];
  /**
   * Open file descriptors that take the child's stdout and stderr, whose text is empty then: for what may not become
   * a string, and for a child whose own children keep a pipe open.
   */
  readonly outputs?: { readonly stdout: number; readonly stderr: number };
  /** Bytes for the child's standard input, which is empty without it. */
  readonly input?: Uint8Array | string;
  /** Exit codes besides 0 that are an answer and not a failure; say at the call why. */
  readonly answers?: readonly number[];
  /** Variables for the child besides LC_ALL and PATH; never a secret: the host's other users may read them. */
  readonly env?: Readonly<Record<string, string>>;
  /** Milliseconds until the child is killed; 30 000 without it, and 0 for never. */
  readonly timeout?: number;
  /**
   * Gives the child a session of its own, which neither a terminal's signals nor the end of this process reach. Once
   * `end` is aborted, all processes of its group are asked to end, by SIGTERM.
   */
  readonly session?: { readonly end: AbortSignal };
  /** Hears the child's stdout as it comes: for progress. */
  readonly onOutput?: (text: string) => void;
}

export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface HeldCommand extends Omit<Command, "input" | "outputs" | "onOutput" | "session"> {
  /** How it is ended; killed without it. */
  readonly end?: "kill" | "end-of-input";
}

/** A program that runs until this is disposed of, or until this process ends, whatever way that comes. */
export interface HeldProcess extends AsyncDisposable {
  readonly kind: "held";
  /** False when it ended before its time, and gave up what it held. */
  readonly isRunning: boolean;
}

/** Starts programs. The only way out of this process: tests replace it to see the exact argv. */
export interface CommandRunner {
  /**
   * @throws TOOL_MISSING, TOOL_TIMEOUT, or TOOL_FAILED with the tool's last line of stderr; never with `input`.
   */
  run(command: Command): Promise<CommandResult>;

  /**
   * Starts a program for what it holds while it runs, a lock for instance: it writes something to stdout as soon as it
   * has it, and exits when its standard input ends, which is how it learns of our death. `timeout` is the time until
   * the first. Disposing kills it, or ends its standard input and waits where it has something to finish.
   * @returns the running program, or what it answered instead
   * @throws as `run`
   */
  hold(command: HeldCommand): Promise<HeldProcess | ({ readonly kind: "ended" } & CommandResult)>;
}

/**
 * How execa says that a child ended, of which it types the outputs loosely; `code` is the errno of a child that could
 * not be started.
 */
interface Ending {
  readonly exitCode?: number | undefined;
  readonly signal?: string | undefined;
  readonly code?: string | undefined;
  readonly stdout?: unknown;
  readonly stderr?: unknown;
}

/** No variable of ours reaches a child, and no child's message is translated. */
const ENVIRONMENT = { LC_ALL: "C", PATH: "/usr/sbin:/usr/bin:/sbin:/bin" };

const TIMEOUT = 30_000;
/** Milliseconds until a killed program is not waited for: not even that ends one that waits for a device. */
const DEATH = 2000;

/** The one module that imports execa. */
export class ExecaCommandRunner implements CommandRunner {
  async run(command: Command): Promise<CommandResult> {
    const { input, timeout = TIMEOUT, onOutput, session } = command;
    const { child } =
      input === undefined
        ? await start(command, "ignore", { timeout })
        : await start(command, "pipe", { timeout, input });
    if (session !== undefined) endWith(child, session.end);
    if (onOutput !== undefined) {
      // a character of several bytes may come in two pieces
      const decoder = new StringDecoder("utf8");
      child.stdout.on("data", (chunk: Buffer) => onOutput(decoder.write(chunk)));
    }
    const late = timeout === 0 ? [] : [setTimeout(timeout + DEATH, "late" as const, { ref: false })];
    const ending = await Promise.race([child, ...late]);
    if (ending === "late") abandon(child);
    if (ending === "late" || ending.timedOut) throw tooSlow(command);
    return resultOf(command, ending);
  }

  async hold(command: HeldCommand): ReturnType<CommandRunner["hold"]> {
    const { child } = await start(command, "pipe", {});
    const kill = async () => {
      child.kill("SIGKILL");
      await child;
    };
    const finish = async () => {
      child.stdin?.end();
      const late = setTimeout(command.timeout ?? TIMEOUT, "late" as const, { ref: false });
      if ((await Promise.race([child, late])) === "late") await kill();
    };
    const ready = once(child.stdout, "data").then(
      () => "ready" as const,
      () => child,
    );
    // it may not keep this process alive after all the rest is done
    const late = setTimeout(command.timeout ?? TIMEOUT, "late" as const, { ref: false });
    const first = await Promise.race([ready, child, late]);
    if (first === "late") {
      await kill();
      throw tooSlow(command);
    }
    if (first !== "ready") return { kind: "ended", ...resultOf(command, first) };
    return {
      kind: "held",
      get isRunning() {
        return child.exitCode === null && child.signalCode === null;
      },
      [Symbol.asyncDispose]: command.end === "end-of-input" ? finish : kill,
    };
  }
}

/** Passes the end on to the process group that the child leads. */
function endWith(child: Awaited<ReturnType<typeof start>>["child"], signal: AbortSignal): void {
  const { pid } = child;
  if (pid === undefined) return;
  const end = () => process.kill(-pid, "SIGTERM");
  if (signal.aborted) end();
  else signal.addEventListener("abort", end);
  // the number may be another's after that
  child.once("exit", () => signal.removeEventListener("abort", end));
}

/** Neither the child nor its pipes keep this process alive. */
function abandon(child: Awaited<ReturnType<typeof start>>["child"]): void {
  child.unref();
  const streams: readonly ({ destroy(): unknown } | null)[] = [child.stdin, child.stdout, child.stderr];
  for (const stream of streams) stream?.destroy();
}

/** In an object, since what execa returns would be awaited on the way out. */
async function start(
  { tool, args, fds = [], env = {}, outputs, session }: Command,
  stdin: "ignore" | "pipe",
  options: Pick<Command, "input" | "timeout">,
) {
  // loaded by the first command: most guests that start have nothing for us to do
  const { execa } = await import("execa");
  // execa takes any descriptor; its types name only 3 to 9
  const inherited = fds.map((fd) => fd as 3);
  // typed as what callers that read it have
  const [stdout, stderr] = [outputs?.stdout ?? "pipe", outputs?.stderr ?? "pipe"] as ["pipe", "pipe"];
  const child = execa(toolPath(tool), args, {
    env: { ...ENVIRONMENT, ...env },
    extendEnv: false,
    cwd: "/",
    stdio: [stdin, stdout, stderr, ...inherited],
    ...options,
    // execa kills no such child when this process ends
    detached: session !== undefined,
    killSignal: "SIGKILL",
    reject: false,
    stripFinalNewline: false,
  });
  child.once("exit", (_code, signal) => {
    // what the killed child had started may live on and hold the pipes: nobody waits for that
    const streams: (Readable | null)[] = [child.stdout, child.stderr];
    if (signal === "SIGKILL") for (const stream of streams) stream?.destroy();
  });
  return { child };
}

function tooSlow({ tool, timeout = TIMEOUT }: Command): LuksmithError {
  return new LuksmithError("TOOL_TIMEOUT", {
    what: `${tool} did not finish within ${timeout / 1000} s and was killed`,
  });
}

/** @throws TOOL_FAILED */
function resultOf({ tool, answers = [] }: Command, ending: Ending): CommandResult {
  const stdout = textOf(ending.stdout);
  const stderr = textOf(ending.stderr);
  const { exitCode } = ending;
  if (exitCode === 0 || (exitCode !== undefined && answers.includes(exitCode))) {
    return { exitCode, stdout, stderr };
  }
  throw new LuksmithError("TOOL_FAILED", {
    what: `${tool} failed`,
    why: redact(lastLine(stderr) || lastLine(stdout) || howItEnded(ending)),
  });
}

function textOf(output: unknown): string {
  return typeof output === "string" ? output : "";
}

function lastLine(text: string): string {
  return text.trimEnd().split("\n").at(-1)?.trim() ?? "";
}

function howItEnded({ exitCode, signal, code }: Ending): string {
  if (exitCode !== undefined) return `exit code ${exitCode}`;
  return signal === undefined ? `it could not be started: ${code ?? "unknown error"}` : `killed by ${signal}`;
}
