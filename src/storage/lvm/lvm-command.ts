import { LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";

type LvmTool = "lvchange" | "lvcreate" | "lvextend" | "lvremove" | "lvrename" | "lvs";

/** What an LVM command answered: its output, or why it could not do what it was told. */
export type LvmAnswer =
  { readonly kind: "done"; readonly stdout: string } | { readonly kind: "failed"; readonly reason: string };

/** A name or a size that LVM does not take, and everything else that it cannot do: the text says why. */
const FAILURES: readonly number[] = [3, 5];

/** Killed half-way, a command that changes something could leave a volume suspended, and its guest waiting. */
const TIMEOUT = 300_000;

/** @throws TOOL_MISSING, TOOL_TIMEOUT, TOOL_FAILED */
export async function askLvm(
  runner: CommandRunner,
  tool: LvmTool,
  args: readonly string[],
): Promise<LvmAnswer> {
  const { exitCode, stdout, stderr } = await runner.run({
    tool,
    args,
    answers: FAILURES,
    ...(tool === "lvs" ? {} : { timeout: TIMEOUT }),
  });
  return exitCode === 0 ? { kind: "done", stdout } : { kind: "failed", reason: reasonIn(stderr) };
}

/** @throws as askLvm; TOOL_FAILED also for what LVM could not do */
export async function runLvm(runner: CommandRunner, tool: LvmTool, args: readonly string[]): Promise<string> {
  const answer = await askLvm(runner, tool, args);
  if (answer.kind === "done") return answer.stdout;
  throw new LuksmithError("TOOL_FAILED", { what: `${tool} failed`, why: answer.reason });
}

/** LVM spreads a reason over lines, among warnings about other things. */
function reasonIn(stderr: string): string {
  const lines = stderr
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !/^(?:WARNING\b|File descriptor |Run `)/.test(line));
  return lines.join("; ") || "LVM did not say why";
}
