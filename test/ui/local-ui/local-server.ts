import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { randomUUID } from "node:crypto";
import type { LuksmithHost } from "../../e2e/support/luksmith-host.js";
import { until } from "../../lab/guarded-daemon.js";
import type { ExecResult } from "../../lab/libvirt-host.js";

/** `luksmith ui` inside a host, as an administrator runs it in a terminal. */
export interface LocalServer extends AsyncDisposable {
  /** What it says is to be opened, with the token that works once. */
  readonly address: string;
  /** `http://127.0.0.1:PORT`. */
  readonly origin: string;
  /** Standard output so far. */
  said(): Promise<string>;
  /** As Ctrl-C does: to the command and to whatever it has started in its process group. */
  interrupt(): Promise<void>;
  /** When it has ended, in whatever way. */
  readonly ended: Promise<ExecResult>;
}

/** Leads a process group, as a shell with job control starts it; `exec` keeps the PID that is written. */
const LEADER = 'echo $$ >"$1.pid"; exec >"$1.out" 2>"$1.err"; shift; exec setsid --wait "$@"';

export async function startLocalServer(
  host: LuksmithHost,
  ...options: readonly string[]
): Promise<LocalServer> {
  const files = join(host.libvirt.dir, randomUUID());
  const read = (kind: "pid" | "out" | "err") => readFile(`${files}.${kind}`, "utf8");
  const ended = host.libvirt
    .exec(["sh", "-c", LEADER, "sh", files, ...host.command("ui", ...options)])
    .then(async ({ exitCode }) => ({ exitCode, stdout: await read("out"), stderr: await read("err") }));
  const died = ended.then((result) => {
    throw new Error(`luksmith ui has ended with exit code ${result.exitCode}: ${result.stderr}`);
  });
  const address = await Promise.race([addressIn(() => read("out")), died]);
  died.catch(() => undefined);
  const pid = (await read("pid")).trim();
  return {
    address,
    origin: new URL(address).origin,
    said: () => read("out"),
    ended,
    async interrupt() {
      await host.libvirt.exec(["kill", "-INT", "--", `-${pid}`]);
    },
    async [Symbol.asyncDispose]() {
      await host.libvirt.exec(["kill", "-TERM", pid]);
      await ended;
    },
  };
}

async function addressIn(output: () => Promise<string>): Promise<string> {
  let address: string | undefined;
  await until(async () => {
    address = /http:\/\/\S+/.exec(await output())?.[0];
    if (address === undefined) throw new Error("luksmith ui has printed no address");
  });
  return address!;
}
