import type { CommandRunner } from "../exec/command-runner.js";

/** Exit code that we choose for flock(1) to say that the time is over. */
const TIME_IS_OVER = 75;

export type Sharing = "exclusive" | "shared";

/**
 * Takes a flock(2) on the open file or directory `fd`, waiting `patience` seconds for other holders: exclusive, or
 * shared with all who share it.
 * The lock belongs to the open file description, which flock(1) only borrows: it lasts until `fd` is closed, by the
 * kernel at the latest. So no killed process leaves one.
 */
export async function lockDescriptor(
  fd: number,
  {
    runner,
    patience,
    sharing = "exclusive",
  }: { readonly runner: CommandRunner; readonly patience: number; readonly sharing?: Sharing },
): Promise<"locked" | "busy"> {
  const { exitCode } = await runner.run({
    tool: "flock",
    args: [sharing === "exclusive" ? "-x" : "-s", "-w", String(patience), "-E", String(TIME_IS_OVER), "3"],
    fds: [fd],
    answers: [TIME_IS_OVER],
    timeout: patience * 1000 + 10_000,
  });
  return exitCode === 0 ? "locked" : "busy";
}
