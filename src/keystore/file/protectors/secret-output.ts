import { readSync, writeSync } from "node:fs";
import type { Command, CommandRunner } from "../../../exec/command-runner.js";
import { openMemoryFile } from "../../../secret/secret-file.js";
import { Secret } from "../../../secret/secret.js";

export interface SecretOutput {
  readonly exitCode: number;
  /** What the program wrote to stdout, the caller's to dispose of; cut off after 64 KiB. */
  readonly output: Secret;
  readonly stderr: string;
}

const LIMIT = 64 * 1024;
const ALL_EXIT_CODES = Array.from({ length: 256 }, (_, code) => code);

/**
 * Runs a program whose stdout is a secret: it goes to unnamed memory files instead of pipes, so that no string of it
 * is made here. Any exit code is an answer. @throws as CommandRunner.run
 */
export async function runForSecret(
  runner: CommandRunner,
  command: Omit<Command, "outputs" | "answers">,
): Promise<SecretOutput> {
  using stdout = openMemoryFile();
  using stderr = openMemoryFile();
  const { exitCode } = await runner.run({
    ...command,
    outputs: { stdout: stdout.fd, stderr: stderr.fd },
    // each tool has its own, and what they mean is in stderr
    answers: ALL_EXIT_CODES,
  });
  const said = take(stderr.fd);
  return { exitCode, output: Secret.own(take(stdout.fd)), stderr: said.toString("utf8") };
}

/** The bytes of a memory file, in which zeros are left. */
function take(fd: number): Buffer {
  const buffer = Buffer.alloc(LIMIT);
  const length = readSync(fd, buffer, 0, LIMIT, 0);
  writeSync(fd, Buffer.alloc(length), 0, length, 0);
  return buffer.subarray(0, length);
}

/** The last line that says something, for an error's `why`. */
export function lastLine(text: string): string {
  return text.trimEnd().split("\n").at(-1)?.trim() ?? "";
}
