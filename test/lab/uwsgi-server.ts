import { execa } from "execa";
import { readFileSync } from "node:fs";
import { request } from "node:http";
import { createInterface } from "node:readline/promises";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { KeyPair } from "./certificates.js";

/** A Python web application under uwsgi on loopback, with connections that are kept. */
export interface UwsgiServer extends AsyncDisposable {
  readonly port: number;
  /** kill -9 in the midst of whatever it does, and a new start on the same port with the same data. */
  restart(): Promise<void>;
  /** kill -9; `restart` starts it again. */
  kill(): void;
  /** SIGSTOP: connections are taken by the kernel, and nobody answers. */
  freeze(): void;
  thaw(): void;
  /** Kills it, and removes its directory. Idempotent. */
  stop(): Promise<void>;
}

export interface UwsgiOptions {
  /** Is its HOME, has app.wsgi, and is removed at the end. */
  readonly dir: string;
  readonly port: number;
  /** For messages. */
  readonly name: string;
  /** A path that answers when it serves. */
  readonly ready: string;
  /** More of uwsgi's. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export const HOST = "127.0.0.1";
const DAEMON = fileURLToPath(new URL("uwsgi-daemon.sh", import.meta.url));
const ENVIRONMENT = { LC_ALL: "C.UTF-8", PATH: "/usr/sbin:/usr/bin:/sbin:/bin" };
/** Milliseconds. */
const START = 30_000;

/** Needs the packages uwsgi-core, uwsgi-plugin-python3. */
export async function startUwsgi(options: UwsgiOptions): Promise<UwsgiServer> {
  const { dir, port, args = [] } = options;
  const server = new LocalUwsgi(options, [
    ...["--plugin", "http", "--http", `${HOST}:${port}`, "--http-keepalive", "--http-timeout", "60"],
    ...["--socket", `${dir}/uwsgi.sock`, "--wsgi-file", `${dir}/app.wsgi`, "--need-app"],
    ...["--master", "--no-orphans", "--processes", "1", "--buffer-size", "65535", "--disable-logging"],
    ...args,
  ]);
  await server.started();
  return server;
}

/** An https port besides. `clientCaFile`: only clients with a certificate of this authority are served. */
export function httpsArguments(
  port: number,
  tls: (KeyPair & { readonly clientCaFile?: string }) | undefined,
): string[] {
  if (tls === undefined) return [];
  // with the mark it refuses who shows none; without it, who shows another authority's
  const clientCa = tls.clientCaFile === undefined ? [] : [`!${tls.clientCaFile}`];
  return ["--https", [`${HOST}:${port}`, tls.certificateFile, tls.keyFile, "HIGH", ...clientCa].join(",")];
}

class LocalUwsgi implements UwsgiServer {
  readonly port: number;
  readonly #options: UwsgiOptions;
  readonly #holder;
  readonly #groups;
  #group = 0;

  /** The daemon ends with `stop`, and when this process ends in any way: its standard input closes. */
  constructor(options: UwsgiOptions, args: readonly string[]) {
    this.port = options.port;
    this.#options = options;
    this.#holder = execa("sh", [DAEMON, options.dir, ...args], {
      env: { ...ENVIRONMENT, ...options.env },
      extendEnv: false,
      // not in our process group, so that an interrupt of the terminal does not reach it before it has cleaned up
      detached: true,
      cleanup: false,
      reject: false,
      stdin: "pipe",
    });
    this.#groups = createInterface(this.#holder.stdout)[Symbol.asyncIterator]();
  }

  /** Waits until it answers. */
  async started(): Promise<void> {
    const { name, port, ready } = this.#options;
    const line = await this.#groups.next();
    this.#group = Number(line.value);
    const until = performance.now() + START;
    while (!(await answers(`http://${HOST}:${port}${ready}`))) {
      if (performance.now() > until || !isAlive(this.#group)) {
        throw new Error(`${name} does not start: ${await this.#end()}`);
      }
      await setTimeout(50);
    }
    // from now on it keeps nobody from ending
    this.#holder.unref();
  }

  async restart(): Promise<void> {
    this.#holder.stdin.write("\n");
    await this.started();
  }

  kill(): void {
    process.kill(-this.#group, "SIGKILL");
  }

  freeze(): void {
    process.kill(-this.#group, "SIGSTOP");
  }

  thaw(): void {
    process.kill(-this.#group, "SIGCONT");
  }

  async stop(): Promise<void> {
    await this.#end();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** @returns what uwsgi and the application have said */
  async #end(): Promise<string> {
    this.#holder.ref();
    this.#holder.stdin.end();
    return (await this.#holder).stderr;
  }
}

/** Whether there is any answer. */
function answers(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    request(url, { agent: false, timeout: START }, (response) => {
      response.resume();
      resolve((response.statusCode ?? 500) < 500);
    })
      .on("timeout", () => resolve(false))
      .on("error", () => resolve(false))
      .end();
  });
}

/** Its parent reaps it only at the next command, so that a dead one is still there, as a zombie. */
function isAlive(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
  } catch {
    return false;
  }
}
