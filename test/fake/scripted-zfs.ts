import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { Command, CommandResult, CommandRunner, HeldProcess } from "../../src/exec/command-runner.js";

/** What a call of zfs gives: its output, or the message with which it ends with exit code 1, or how it never ended. */
export type ZfsAnswer =
  | { readonly says: string }
  | { readonly fails: string }
  | { readonly throws: "TOOL_TIMEOUT" | "TOOL_MISSING" };

/**
 * A FAKE of zfs(8) that answers as it is told, call by call, since no machine of these tests has ZFS. The answers in
 * the tests are those of OpenZFS 2.x: the columns of `-H -p` as zfs-get(8) describes them, messages as libzfs words them.
 */
export class ScriptedZfs implements CommandRunner {
  readonly lines: string[] = [];
  readonly #answers: ZfsAnswer[];

  constructor(...answers: readonly ZfsAnswer[]) {
    this.#answers = [...answers];
  }

  async run({ tool, args, answers = [] }: Command): Promise<CommandResult> {
    this.lines.push([tool, ...args].join(" "));
    const answer = this.#answers.shift();
    if (tool !== "zfs" || answer === undefined) throw new Error(`not in the script: ${this.lines.at(-1)}`);
    if ("throws" in answer) throw new LuksmithError(answer.throws, { what: "zfs" });
    if ("says" in answer) return await Promise.resolve({ exitCode: 0, stdout: answer.says, stderr: "" });
    if (!answers.includes(1)) throw new LuksmithError("TOOL_FAILED", { what: "zfs failed" });
    return { exitCode: 1, stdout: "", stderr: `${answer.fails}\n` };
  }

  hold(): Promise<HeldProcess> {
    throw new Error("zfs holds nothing");
  }
}
