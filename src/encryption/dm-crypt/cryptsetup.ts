import type { Command, CommandResult, CommandRunner } from "../../exec/command-runner.js";
import { redact, type Secret } from "../../secret/secret.js";
import { secretFile } from "../../secret/secret-file.js";
import type { EncryptionSpec } from "../luks-spec.js";

/** cryptsetup(8), "RETURN CODES": all of them are answers about the volume or the mapping, except for 3. */
export const CODE = { ok: 0, wrong: 1, rejected: 2, device: 4, busy: 5 } as const;
const ANSWERS = [CODE.wrong, CODE.rejected, CODE.device, CODE.busy];

/**
 * Milliseconds; what waits longer waits for a device that does not answer. To open takes longest, where a person's
 * passphrase is stretched.
 */
const TIMEOUT = { open: 30_000, close: 10_000 };

export interface Opening {
  readonly name: string;
  readonly spec: EncryptionSpec;
  readonly access?: "read";
  /** The file or device, open: no other can be opened in its place. */
  readonly volume: number;
  readonly passphrase: Secret;
  /** Held by cryptsetup as well, which can outlive us. */
  readonly lock: number;
}

/** The commands of cryptsetup that make and end mappings. The lock is held until they have ended, also by our death. */
export class Cryptsetup {
  constructor(private readonly runner: CommandRunner) {}

  async open({ name, spec, access, volume, passphrase, lock }: Opening): Promise<CommandResult> {
    // asks nothing: there is nobody to answer
    const open = ["open", "--batch-mode", ...(access === "read" ? ["--readonly"] : [])];
    const timeout = TIMEOUT.open;
    if (spec.format !== "plain") {
      using key = secretFile(passphrase);
      const type = spec.format === "luks" ? "luks1" : "luks2";
      const options = ["--type", type, "--key-file", "/proc/self/fd/5", "--", "/proc/self/fd/3", name];
      return await this.#run({ args: [...open, ...options], fds: [volume, lock, key.fd], timeout });
    }
    const shape = ["--cipher", spec.cipher, "--key-size", String(spec.keySize), "--hash", spec.hash];
    // only what comes by "-" is hashed: a key file would be the volume key itself (action_open_plain in cryptsetup.c)
    const options = ["--type", "plain", ...shape, "--key-file", "-", "--", "/proc/self/fd/3", name];
    return await passphrase.use((input) =>
      this.#run({ args: [...open, ...options], fds: [volume, lock], input, timeout }),
    );
  }

  /** Of a LUKS header, of either version; `wrong` where there is none. */
  async headerUuid(volume: number, lock: number): Promise<CommandResult> {
    const args = ["luksUUID", "--", "/proc/self/fd/3"];
    return await this.#run({ args, fds: [volume, lock], timeout: TIMEOUT.close });
  }

  async close(name: string, lock: number): Promise<CommandResult> {
    return await this.#run({ args: ["close", "--", name], fds: [lock], timeout: TIMEOUT.close });
  }

  /** The kernel closes it when its last user does, whether or not there is a Luksmith then. */
  async closeLater(name: string, lock: number): Promise<CommandResult> {
    return await this.#run({
      args: ["close", "--deferred", "--", name],
      fds: [lock],
      timeout: TIMEOUT.close,
    });
  }

  /** LUKS2 has its volume key in the kernel's keyring, and asks for the passphrase again. */
  async resize(name: string, passphrase: Secret, lock: number): Promise<CommandResult> {
    using key = secretFile(passphrase);
    const args = ["resize", "--batch-mode", "--key-file", "/proc/self/fd/4", "--", name];
    return await this.#run({ args, fds: [lock, key.fd], timeout: TIMEOUT.open });
  }

  #run(command: Omit<Command, "tool" | "answers">): Promise<CommandResult> {
    return this.runner.run({ tool: "cryptsetup", ...command, answers: ANSWERS });
  }
}

/** What it said last, without a period at its end. */
export function complaintOf({ stderr, exitCode }: CommandResult): string {
  const line = stderr.trimEnd().split("\n").at(-1)?.trim().replace(/\.$/, "") ?? "";
  return redact(line || `exit code ${exitCode}`);
}
