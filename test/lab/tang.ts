import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "./free-ports.js";
import { daemonDirectory, type GuardedDaemon, startGuardedDaemon, until } from "./guarded-daemon.js";

const HOST = "127.0.0.1";
const KEYGEN = "/usr/libexec/tangd-keygen";

/** A Tang server of its own on loopback. */
export interface TangServer extends AsyncDisposable {
  readonly url: string;
  /** Of its signing key, as tang-show-keys prints it. */
  readonly thumbprint: string;
  /** New keys; the old ones are hidden, which still serves what was bound to them. */
  rotate(): void;
  /** New keys; the old ones are lost. */
  replaceKeys(): void;
  /** SIGSTOP: connections are taken by the kernel, and nobody answers. */
  freeze(): void;
  thaw(): void;
  /** Nobody listens any more. Idempotent. */
  stop(): Promise<void>;
  start(): Promise<void>;
}

/** Needs the packages tang, socat and curl. */
export async function startTang(): Promise<TangServer> {
  const state = daemonDirectory("tang-state");
  const keeper = await startGuardedDaemon(state, ["sleep", "infinity"]);
  const keys = join(state, "keys");
  mkdirSync(keys);
  execFileSync(KEYGEN, [keys, "signing", "exchange"]);
  const tang = new LocalTang(keys, await freePort(), keeper);
  await tang.start();
  return tang;
}

class LocalTang implements TangServer {
  readonly url: string;
  readonly thumbprint: string;
  #daemon: GuardedDaemon | undefined;

  constructor(
    private readonly keys: string,
    private readonly port: number,
    private readonly keeper: GuardedDaemon,
  ) {
    this.url = `http://${HOST}:${port}`;
    this.thumbprint = execFileSync("jose", ["jwk", "thp", "-i", join(keys, "signing.jwk"), "-a", "S256"], {
      encoding: "utf8",
    }).trim();
  }

  async start(): Promise<void> {
    this.#daemon = await startGuardedDaemon(daemonDirectory("tang"), [
      "socat",
      `TCP-LISTEN:${this.port},bind=${HOST},fork,reuseaddr`,
      `EXEC:/usr/libexec/tangd ${this.keys}`,
    ]);
    await until(() => execFileSync("curl", ["-sf", "-m", "2", "-o", "/dev/null", `${this.url}/adv`]));
  }

  async stop(): Promise<void> {
    if (this.#daemon !== undefined) this.thaw();
    await this.#daemon?.[Symbol.asyncDispose]();
    this.#daemon = undefined;
  }

  rotate(): void {
    for (const name of readdirSync(this.keys)) {
      if (!name.startsWith(".")) renameSync(join(this.keys, name), join(this.keys, `.${name}`));
    }
    execFileSync(KEYGEN, [this.keys, "signing2", "exchange2"]);
  }

  replaceKeys(): void {
    const away = `${this.keys}-away`;
    mkdirSync(away, { recursive: true });
    for (const name of readdirSync(this.keys)) renameSync(join(this.keys, name), join(away, name));
    execFileSync(KEYGEN, [this.keys, "signing3", "exchange3"]);
  }

  freeze(): void {
    if (this.#daemon !== undefined) process.kill(this.#daemon.pid, "SIGSTOP");
  }

  thaw(): void {
    if (this.#daemon !== undefined) process.kill(this.#daemon.pid, "SIGCONT");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.keeper[Symbol.asyncDispose]();
  }
}
