import { writeSync } from "node:fs";
import { LuksmithError } from "../../../error/luksmith-error.js";
import type { CommandRunner } from "../../../exec/command-runner.js";
import type { Tool } from "../../../exec/tools.js";
import { type MemoryFile, openMemoryFile } from "../../../secret/secret-file.js";
import { VolumeLocks } from "../../../storage/volume-lock.js";
import { type SecretOutput, runForSecret } from "./secret-output.js";
import { requireTpmDriver } from "./tpm-drivers.js";

/** A word for a tool, or a memory file, of which it gets a path after `prefix`. */
type Word = string | MemoryFile | { readonly prefix: string; readonly file: MemoryFile };

/** Milliseconds for one command; a TPM answers within one second, creating the primary key included. */
const TIMEOUT = 8_000;
/** Seconds that others may take. */
const PATIENCE = 10;
/** The kernel's, and the one of tpm2-abrmd: each process has a TPM of its own. */
const RESOURCE_MANAGER = /^(device:\/dev\/tpmrm|tabrmd)/;

/** The programs of tpm2-tools, one TPM, and memory files instead of the files that these pass on to each other. */
export class TpmCommands {
  readonly #runner: CommandRunner;
  readonly #tcti: string;

  /** @throws PROTECTOR_UNAVAILABLE for a TCTI that could start a program */
  constructor(runner: CommandRunner, tcti: string) {
    requireTpmDriver(tcti);
    this.#runner = runner;
    this.#tcti = tcti;
  }

  /**
   * Runs a tool and flushes what it has loaded: a TPM without a resource manager has three places.
   * @returns what it wrote to stdout, the caller's to dispose of
   * @throws TpmRefusal where the TPM says no, PROTECTOR_UNAVAILABLE where it does not answer
   */
  async run(tool: Tool, words: readonly Word[], input?: Uint8Array): Promise<SecretOutput["output"]> {
    const fds: number[] = [];
    const pathOf = (file: MemoryFile) => `/proc/self/fd/${2 + fds.push(file.fd)}`;
    const args = words.map((word) => {
      if (typeof word === "string") return word;
      return "file" in word ? `${word.prefix}${pathOf(word.file)}` : pathOf(word);
    });
    const { exitCode, output, stderr } = await this.#start(tool, args, fds, input);
    if (exitCode === 0) {
      if (tool !== "tpm2_flushcontext") await this.flush();
      return output;
    }
    output.dispose();
    const error = errorOf(tool, stderr);
    // it may have loaded something before; a TPM that is away has nothing to flush
    if (error instanceof TpmRefusal && tool !== "tpm2_flushcontext") await this.flush();
    throw error;
  }

  /**
   * Does `work` while no other process of ours uses the TPM: without a resource manager all share its three places,
   * and each flushes the others' objects. @throws LOCK_TIMEOUT
   */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    if (RESOURCE_MANAGER.test(this.#tcti)) return await work();
    return await new VolumeLocks(this.#runner, undefined, PATIENCE).hold(`tpm ${this.#tcti}`, work);
  }

  async flush(): Promise<void> {
    (await this.run("tpm2_flushcontext", ["-t"])).dispose();
  }

  /** Does `work` with a session whose messages to the TPM nobody on the bus can read, and which then is no more. */
  async withSession<T>(
    kind: "--hmac-session" | "--policy-session",
    primary: MemoryFile,
    work: (session: MemoryFile) => Promise<T>,
  ): Promise<T> {
    using session = openMemoryFile();
    (await this.run("tpm2_startauthsession", [kind, "-S", session, "--tpmkey-context", primary])).dispose();
    try {
      (await this.run("tpm2_sessionconfig", [session, "--enable-encrypt", "--enable-decrypt"])).dispose();
      return await work(session);
    } finally {
      // after a failure the TPM may be gone: that one's error counts
      await this.#start("tpm2_flushcontext", ["/proc/self/fd/3"], [session.fd]).catch(() => undefined);
    }
  }

  async #start(tool: Tool, args: readonly string[], fds: readonly number[], input?: Uint8Array) {
    return await runForSecret(this.#runner, {
      tool,
      args: ["-T", this.#tcti, ...args],
      fds,
      timeout: TIMEOUT,
      ...(input === undefined ? {} : { input }),
    });
  }
}

/** The TPM answered, and said no. `code` is its response code (TPM 2.0 Library, part 2, 6.6). */
export class TpmRefusal extends Error {
  constructor(
    readonly code: number,
    readonly reason: string,
  ) {
    super(reason);
  }
}

export function memoryFileOf(bytes: Uint8Array): MemoryFile {
  const file = openMemoryFile();
  writeSync(file.fd, bytes);
  return file;
}

/** `ERROR: Esys_Unseal(0x99D) - tpm:session(1):a policy check failed`; nothing of the kind if there was no TPM to ask. */
const ANSWER = /\(0x(?<code>[0-9a-f]{1,8})\) - (?<reason>.+)/i;
/** Set in the codes by which a TPM refuses what it was given; the others say that it cannot now. */
const FORMAT_ONE = 0x80;
/** The layer of tpm2-tss that finds damage in what it is given (TSS2_MU_RC_LAYER). */
const UNMARSHALLING = 9;

function errorOf(tool: Tool, stderr: string): Error {
  const { code = "", reason = "" } = ANSWER.exec(stderr)?.groups ?? {};
  const number = Number.parseInt(code, 16);
  const said = stderr.split("\n").find((line) => line.startsWith("ERROR")) ?? "it was killed";
  const why = reason.trim() || said.replace(/^ERROR:\s*/, "").trim();
  // codes of more than 16 bits come from the libraries between, of which one takes files apart
  const isRefusal = number <= 0xffff ? (number & FORMAT_ONE) !== 0 : number >> 16 === UNMARSHALLING;
  // without a code and a word of the connection (TCTI), the tool itself has refused a file
  const isRefusedFile = code === "" && said.startsWith("ERROR") && !/tcti/i.test(stderr);
  if (isRefusal || isRefusedFile) return new TpmRefusal(number, why);
  return new LuksmithError("PROTECTOR_UNAVAILABLE", {
    what: `${tool} gets no answer from the TPM`,
    why,
    hint: "see whether the host has it: ls -l /dev/tpmrm0; without it: luksmith keystore recovery restore",
  });
}
