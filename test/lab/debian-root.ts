import { execa } from "execa";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const SCRIPT = fileURLToPath(new URL("debian-root.sh", import.meta.url));
const ENVIRONMENT = { LC_ALL: "C.UTF-8", PATH: "/usr/sbin:/usr/bin:/sbin:/bin" };

export interface Ran {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A Debian of its own, without systemd running, that is gone when this is disposed of, or when this process ends. */
export class DebianRoot implements AsyncDisposable {
  private constructor(
    private readonly directory: string,
    private readonly pid: number,
    private readonly end: () => Promise<void>,
  ) {}

  static async start(release: string): Promise<DebianRoot> {
    const directory = mkdtempSync(join(tmpdir(), "luksmith-debian-"));
    const inside = ["--mount", "--pid", "--ipc", "--fork", "--kill-child", "sh", SCRIPT];
    const holder = execa("unshare", [...inside, directory, release, await mirror()], {
      env: ENVIRONMENT,
      extendEnv: false,
      detached: true,
      cleanup: false,
      reject: false,
      stdin: "pipe",
    });
    const first = await Promise.race([once(holder.stdout, "data"), holder.then(({ stderr }) => stderr)]);
    if (typeof first === "string") throw new Error(`no Debian ${release} could be made: ${first}`);
    // from now on it keeps nobody from ending
    holder.unref();
    return new DebianRoot(directory, Number(String(first[0])), async () => {
      holder.ref();
      holder.stdin.end();
      await holder;
      rmdirSync(directory);
    });
  }

  /** A file of it, as this process reaches it. */
  path(name: string): string {
    return join(`/proc/${this.pid}/root`, this.directory, name);
  }

  /** Runs a shell's command line in it. */
  async run(script: string, env: Readonly<Record<string, string>> = {}): Promise<Ran> {
    const variables = { ...ENVIRONMENT, DEBIAN_FRONTEND: "noninteractive", HOME: "/root", ...env };
    const command = ["chroot", this.directory, "sh", "-ec", script];
    const namespaces = ["--target", String(this.pid), "--mount", "--pid", "--ipc", "--"];
    const { exitCode, stdout, stderr } = await execa("nsenter", [...namespaces, ...command], {
      env: variables,
      extendEnv: false,
      reject: false,
      stdin: "ignore",
    });
    return { exitCode: exitCode ?? -1, stdout, stderr };
  }

  /** The same for what must not fail. */
  async must(script: string, env?: Readonly<Record<string, string>>): Promise<string> {
    const { exitCode, stdout, stderr } = await this.run(script, env);
    if (exitCode !== 0) throw new Error(`${script}: exit code ${exitCode}\n${stdout}\n${stderr}`);
    return stdout;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.end();
  }
}

/** The one that this machine's apt takes its own Debian from. */
async function mirror(): Promise<string> {
  const codename = /^VERSION_CODENAME=(.*)$/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "";
  const format = ["indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages"];
  const { stdout } = await execa("apt-get", format);
  const lines = stdout.split("\n").map((line) => line.split(" "));
  return lines.find(([, release]) => release === codename)?.[0] ?? "http://deb.debian.org/debian";
}
