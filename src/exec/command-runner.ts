import { LuksmithError } from "../error/luksmith-error.js";
import { redact } from "../secret/secret.js";
import { type Tool, toolPath } from "./tools.js";

export interface Command {
  readonly tool: Tool;
  /** Never holds a secret: argv is public on the host. Options first, then `--`, then paths where the tool knows it. */
  readonly args: readonly string[];
  /** Open file descriptors for the child, as its 3, 4, …: it reads `/proc/self/fd/3`. The caller closes them. */
  readonly fds?: readonly number[];
  /** Bytes for the child's standard input, which is empty without it. */
  readonly input?: Uint8Array | string;
  /** Exit codes besides 0 that are an answer and not a failure; say at the call why. */
  readonly answers?: readonly number[];
  /** Milliseconds until the child is killed; 30 000 without it. */
  readonly timeout?: number;
}

export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts programs. The only way out of this process: tests replace it to see the exact argv. */
export interface CommandRunner {
  /**
   * @throws TOOL_MISSING, TOOL_TIMEOUT, or TOOL_FAILED with the tool's last line of stderr; never with `input`.
   */
  run(command: Command): Promise<CommandResult>;
}

/** How execa says that a child ended; `code` is the errno of a child that could not be started. */
interface Ending {
  readonly exitCode?: number | undefined;
  readonly signal?: string | undefined;
  readonly code?: string | undefined;
}

/** No variable of ours reaches a child, and no child's message is translated. */
const ENVIRONMENT = { LC_ALL: "C", PATH: "/usr/sbin:/usr/bin:/sbin:/bin" };

/** The one module that imports execa. */
export class ExecaCommandRunner implements CommandRunner {
  async run(command: Command): Promise<CommandResult> {
    const { tool, args, fds = [], input, answers = [], timeout = 30_000 } = command;
    // loaded by the first command: most guests that start have nothing for us to do
    const { execa } = await import("execa");
    // execa takes any descriptor; its types name only 3 to 9
    const inherited = fds.map((fd) => fd as 3);
    const child = execa(toolPath(tool), args, {
      env: ENVIRONMENT,
      extendEnv: false,
      cwd: "/",
      stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe", ...inherited],
      ...(input === undefined ? {} : { input }),
      timeout,
      killSignal: "SIGKILL",
      reject: false,
      stripFinalNewline: false,
    });
    child.once("exit", (_code, signal) => {
      // what the killed child had started may live on and hold the pipes: nobody waits for that
      if (signal === "SIGKILL") for (const stream of [child.stdout, child.stderr]) stream.destroy();
    });
    const result = await child;
    // with extra descriptors execa types the outputs loosely, so they are narrowed here once
    const stdout = textOf(result.stdout);
    const stderr = textOf(result.stderr);
    if (result.timedOut) {
      throw new LuksmithError("TOOL_TIMEOUT", {
        what: `${tool} did not finish within ${timeout / 1000} s and was killed`,
      });
    }
    if (result.exitCode === 0 || (result.exitCode !== undefined && answers.includes(result.exitCode))) {
      return { exitCode: result.exitCode, stdout, stderr };
    }
    throw new LuksmithError("TOOL_FAILED", {
      what: `${tool} failed`,
      why: redact(lastLine(stderr) || lastLine(stdout) || howItEnded(result)),
    });
  }
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
