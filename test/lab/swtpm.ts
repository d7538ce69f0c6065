import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { daemonDirectory, type GuardedDaemon, startGuardedDaemon, until } from "./guarded-daemon.js";

/** A TPM 2.0 of its own in software, without a resource manager: it has three places for objects and for sessions. */
export interface Swtpm extends AsyncDisposable {
  /** For tpm2-tools --tcti and systemd-creds --tpm2-device. */
  readonly tcti: string;
  /** For signals. */
  readonly pid: number;
  /** Where the sockets are; for a listener in between. */
  readonly socket: string;
  /** Standard output of `tool ARGS`. @throws with its standard error */
  exec(tool: string, ...args: readonly string[]): string;
  /** Changes PCR `index`, as another boot loader would. */
  extend(index: number): void;
  /** Handles that something has left in it. */
  leftovers(): string[];
  /** A cold start with the same seed and objects; PCRs are reset. */
  restart(): Promise<void>;
  /** kill -9. */
  kill(): Promise<void>;
}

/** Needs the packages swtpm and tpm2-tools. */
export async function startSwtpm(): Promise<Swtpm> {
  const directory = daemonDirectory("swtpm");
  // the daemon's own goes with every kill
  const state = daemonDirectory("swtpm-state");
  const socket = join(state, "socket");
  mkdirSync(join(state, "tpm"));
  const keeper = await startGuardedDaemon(state, ["sleep", "infinity"]);
  return await LocalSwtpm.start(directory, state, socket, keeper);
}

class LocalSwtpm implements Swtpm {
  readonly tcti: string;
  #daemon: GuardedDaemon | undefined;

  private constructor(
    private readonly state: string,
    readonly socket: string,
    private readonly keeper: GuardedDaemon,
  ) {
    this.tcti = `swtpm:path=${socket}`;
  }

  static async start(
    directory: string,
    state: string,
    socket: string,
    keeper: GuardedDaemon,
  ): Promise<LocalSwtpm> {
    const swtpm = new LocalSwtpm(state, socket, keeper);
    await swtpm.#start(directory);
    return swtpm;
  }

  async #start(directory: string): Promise<void> {
    this.#daemon = await startGuardedDaemon(directory, [
      ...["swtpm", "socket", "--tpm2", "--tpmstate", `dir=${join(this.state, "tpm")}`],
      ...["--server", `type=unixio,path=${this.socket}`, "--ctrl", `type=unixio,path=${this.socket}.ctrl`],
      ...["--flags", "not-need-init,startup-clear"],
    ]);
    await until(() => this.exec("tpm2_getcap", "properties-fixed"));
  }

  get pid(): number {
    if (this.#daemon === undefined) throw new Error("the TPM was killed");
    return this.#daemon.pid;
  }

  exec(tool: string, ...args: readonly string[]): string {
    return execFileSync(tool, ["-T", this.tcti, ...args], {
      encoding: "utf8",
      stdio: "pipe",
      timeout: 10_000,
    });
  }

  extend(index: number): void {
    this.exec("tpm2_pcrextend", `${index}:sha256=${"5a".repeat(32)}`);
  }

  leftovers(): string[] {
    return ["transient", "loaded-session", "saved-session"].flatMap((kind) =>
      this.exec("tpm2_getcap", `handles-${kind}`)
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => `${kind} ${line}`),
    );
  }

  async restart(): Promise<void> {
    await this.kill();
    await this.#start(daemonDirectory("swtpm"));
  }

  async kill(): Promise<void> {
    await this.#daemon?.[Symbol.asyncDispose]();
    this.#daemon = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await this.keeper[Symbol.asyncDispose]();
  }
}
