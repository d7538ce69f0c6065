import { execa } from "execa";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** `family`: for a program that starts others. */
const SCRIPTS = {
  daemon: fileURLToPath(new URL("guarded-daemon.sh", import.meta.url)),
  family: fileURLToPath(new URL("guarded-family.sh", import.meta.url)),
};
const ENVIRONMENT = { LC_ALL: "C", PATH: "/usr/sbin:/usr/bin:/sbin:/bin" };

/** A program that runs until this is disposed of, or until this process ends, whatever way that comes. */
export interface GuardedDaemon extends AsyncDisposable {
  readonly pid: number;
}

/** For the daemon that owns it: removed together with it. */
export function daemonDirectory(name: string): string {
  return mkdtempSync(join(tmpdir(), `luksmith-${name}-`));
}

export async function startGuardedDaemon(
  directory: string,
  argv: readonly string[],
  kind: keyof typeof SCRIPTS = "daemon",
): Promise<GuardedDaemon> {
  const holder = execa("sh", [SCRIPTS[kind], directory, ...argv], {
    env: ENVIRONMENT,
    extendEnv: false,
    // not in our process group, so that an interrupt of the terminal does not reach it before it has cleaned up
    detached: true,
    cleanup: false,
    reject: false,
    stdin: "pipe",
  });
  const [said] = (await once(holder.stdout, "data")) as [Buffer];
  // from now on it keeps nobody from ending
  holder.unref();
  return {
    pid: Number(String(said)),
    async [Symbol.asyncDispose]() {
      holder.ref();
      holder.stdin.end();
      await holder;
    },
  };
}

/** Waits until `attempt` does not throw, five seconds at most where nothing else is said. */
export async function until(attempt: () => unknown, seconds = 5): Promise<void> {
  for (let left = seconds * 50; ; left--) {
    try {
      await attempt();
      return;
    } catch (thrown) {
      if (left === 0) throw thrown;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
