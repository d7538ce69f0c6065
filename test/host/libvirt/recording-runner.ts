import { readFileSync } from "node:fs";
import type { Command, CommandResult, CommandRunner } from "../../../src/exec/command-runner.js";

type Answer = Partial<CommandResult> | Error;

export interface RecordedCommand extends Command {
  /** What the child would have read from its extra descriptors. */
  readonly files: readonly string[];
}

/** Starts nothing: remembers every command and answers with the next of `answers`. */
export class RecordingRunner implements CommandRunner {
  readonly commands: RecordedCommand[] = [];
  readonly #answers: Answer[];

  constructor(...answers: Answer[]) {
    this.#answers = answers;
  }

  /** The last argument of each command: virsh's commands. */
  get scripts(): string[] {
    return this.commands.map(({ args }) => args.at(-1)!);
  }

  hold(command: Command): Promise<never> {
    return Promise.reject(new Error(`unexpected command: ${command.args.join(" ")}`));
  }

  run(command: Command): Promise<CommandResult> {
    const files = (command.fds ?? []).map((fd) => readFileSync(`/proc/self/fd/${fd}`, "utf8"));
    this.commands.push({ ...command, files });
    const answer = this.#answers.shift();
    if (answer === undefined)
      return Promise.reject(new Error(`unexpected command: ${command.args.join(" ")}`));
    if (answer instanceof Error) return Promise.reject(answer);
    return Promise.resolve({ exitCode: 0, stdout: "", stderr: "", ...answer });
  }
}
