import { LuksmithError } from "../../src/error/luksmith-error.js";
import { type Command, type CommandResult, ExecaCommandRunner } from "../../src/exec/command-runner.js";

/** What a command of LVM's answers: text for stdout, or how it fails. */
export type FakeAnswer = string | { readonly exitCode: number; readonly stderr: string };

/**
 * Answers for LVM's commands and dmsetup, where there is no device-mapper; everything else runs for real. Each command
 * takes the next of its answers, and the last one again and again.
 */
export class FakeLvm extends ExecaCommandRunner {
  constructor(private readonly answers: Readonly<Record<string, readonly FakeAnswer[]>>) {
    super();
  }

  readonly #asked = new Map<string, number>();

  override async run(command: Command): Promise<CommandResult> {
    const answers = this.answers[command.tool];
    if (answers === undefined) {
      if (/^(?:lv|dmsetup)/.test(command.tool)) throw new Error(`nobody expects ${command.tool}`);
      return await super.run(command);
    }
    const turn = this.#asked.get(command.tool) ?? 0;
    this.#asked.set(command.tool, turn + 1);
    const answer = answers[Math.min(turn, answers.length - 1)]!;
    if (typeof answer === "string") return { exitCode: 0, stdout: answer, stderr: "" };
    if (command.answers?.includes(answer.exitCode) === true) return { stdout: "", ...answer };
    throw new LuksmithError("TOOL_FAILED", { what: `${command.tool} failed`, why: answer.stderr });
  }
}
