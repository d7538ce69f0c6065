import { LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import type { MemoryFile } from "../../secret/secret-file.js";

/** A virsh command, word by word. */
export type VirshCommand = readonly VirshWord[];

/** A memory file stands for the path under which virsh can open it. Everybody on the host can read a text. */
export type VirshWord = string | MemoryFile | { readonly text: string };

export interface VirshAnswer {
  readonly stdout: string;
  /** virsh's messages, two for a failure (what, and libvirt's reason); empty if every command worked. */
  readonly errors: readonly string[];
  /** All that virsh said: a message can have many lines. */
  readonly stderr: string;
}

/**
 * Milliseconds. libvirtd answers secret calls in 1; the rest is for a busy host. A hook must not hold up libvirtd
 * for ever when it hangs.
 */
const TIMEOUT = 15_000;

/** Words that mean themselves to virsh's own command parser, which splits like a shell. */
const PLAIN_WORD = /^[A-Za-z0-9-]+$/;

/** How virsh says that libvirtd is not there, or went away meanwhile. */
const UNAVAILABLE =
  /failed to connect to the hypervisor|^Disconnected from|no valid connection|client socket is closed/;

/** Paths that ssh needs, by which virsh reaches other hosts. A hook has neither. */
const FOR_SSH = ["SSH_AUTH_SOCK", "KRB5CCNAME"];

export class Virsh {
  constructor(
    private readonly uri: string,
    private readonly runner: CommandRunner,
    private readonly timeout = TIMEOUT,
    private readonly inherited: readonly number[] = [],
  ) {}

  /** The same with another patience, in milliseconds. */
  waiting(timeout: number): Virsh {
    return new Virsh(this.uri, this.runner, timeout, this.inherited);
  }

  /** The same program that keeps a lock's descriptor until it has ended, even if this process is killed before. */
  keeping(lock: number): Virsh {
    return new Virsh(this.uri, this.runner, this.timeout, [...this.inherited, lock]);
  }

  /** The same program for another libvirt. */
  at(uri: string): Virsh {
    return new Virsh(uri, this.runner, this.timeout, this.inherited);
  }

  /**
   * Runs all of `commands` in one process (starting virsh costs more than 16 secrets). virsh does not stop at a
   * command that fails and exits with the code of the last one, so `errors` is what tells.
   * @throws HOST_UNAVAILABLE, TOOL_MISSING
   */
  async run(...commands: readonly VirshCommand[]): Promise<VirshAnswer> {
    const fds: number[] = [];
    const script = commands.map((command) => command.map((word) => textOf(word, fds)).join(" ")).join("; ");
    const { exitCode, stdout, stderr } = await this.#start(script, fds);
    const errors = [...stderr.matchAll(/^error: (.*)$/gm)].map(([, message = ""]) => message);
    if (errors.some((error) => UNAVAILABLE.test(error))) throw this.#unavailable(errors.at(-1));
    if (exitCode !== 0 && errors.length === 0) errors.push(`virsh ended with exit code ${exitCode}`);
    return { stdout, errors, stderr };
  }

  async #start(script: string, fds: readonly number[]) {
    try {
      // 1 is an answer: `errors` says more than one exit code for several commands
      const args = ["-q", "-c", this.uri, script];
      const env = Object.fromEntries(FOR_SSH.flatMap((name) => entryOf(name)));
      const all = { fds: [...fds, ...this.inherited], answers: [1], timeout: this.timeout, env };
      return await this.runner.run({ tool: "virsh", args, ...all });
    } catch (thrown) {
      if (!(thrown instanceof LuksmithError)) throw thrown;
      if (thrown.code === "TOOL_TIMEOUT")
        throw this.#unavailable(`it did not answer within ${this.timeout / 1000} s`, thrown);
      // libvirtd ended between virsh's connecting and its next question
      if (thrown.code === "TOOL_FAILED" && thrown.why === "killed by SIGPIPE")
        throw this.#unavailable("it has gone away meanwhile", thrown);
      throw thrown;
    }
  }

  #unavailable(why = "", cause?: unknown): LuksmithError {
    return new LuksmithError("HOST_UNAVAILABLE", {
      what: `cannot reach libvirt at ${this.uri}`,
      why,
      hint: "see whether libvirtd (or virtqemud) runs: virsh list",
      cause,
    });
  }
}

function entryOf(name: string): [string, string][] {
  const value = process.env[name];
  return value === undefined ? [] : [[name, value]];
}

function textOf(word: VirshWord, fds: number[]): string {
  // virsh knows single quotes as a shell does
  if (typeof word !== "string" && "text" in word) return `'${word.text.replaceAll("'", String.raw`'\''`)}'`;
  if (typeof word !== "string") return `/proc/self/fd/${2 + fds.push(word.fd)}`;
  if (PLAIN_WORD.test(word)) return word;
  throw new Error("a word that virsh would take apart");
}
