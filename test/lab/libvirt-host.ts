import { execa } from "execa";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { appendFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export interface ExecResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** One call of the qemu hook, as libvirtd made it. */
export interface HookCall {
  readonly guest: string;
  readonly operation: string;
  readonly subOperation: string;
}

/**
 * A libvirtd of its own, in its own namespaces, with empty directories where libvirt and Luksmith keep theirs: what
 * runs in it uses the production paths and touches nothing of the machine around it. The network is shared, unless the
 * host has an address of its own.
 */
export interface LibvirtHost extends AsyncDisposable {
  /** A scratch directory, the same inside and outside; removed by `stop`. */
  readonly dir: string;
  /** The host's file system, seen from outside. */
  readonly root: string;
  /** Connection URI for a client outside; inside it is `qemu:///system`. */
  readonly uri: string;
  /** File of its network namespace, for `ip` and `nsenter` outside. */
  readonly network: string;
  /** Runs a program inside; any exit code is an answer. */
  exec(argv: readonly string[], options?: { readonly input?: string | Uint8Array }): Promise<ExecResult>;
  /** Standard output of `virsh ARGS`. @throws if virsh fails, with its standard error */
  virsh(...args: readonly string[]): Promise<string>;
  define(xml: string): Promise<void>;
  /** Stops libvirtd and starts it again while the guests run on; returns when it has reconnected to them all. */
  restartDaemon(): Promise<void>;
  /** Ends libvirtd; the guests run on. */
  stopDaemon(): Promise<void>;
  startDaemon(): Promise<void>;
  /** Makes libvirtd read its configuration again, and look for hooks. */
  reloadDaemon(): Promise<void>;
  /** Puts a foreign hook in place that records every call; libvirtd must be reloaded or restarted if it was the first. */
  recordHooks(): Promise<void>;
  hookLog(): Promise<HookCall[]>;
  /** UUIDs of all secrets that libvirtd has. */
  secretsLeft(): Promise<string[]>;
  /** Kills guests and libvirtd; mounts and files go with them. Idempotent. */
  stop(): Promise<void>;
}

const NAMESPACE = fileURLToPath(new URL("libvirt-namespace.sh", import.meta.url));
const START_DAEMON =
  "libvirtd --daemon $(cat /run/libvirtd.options) --config /etc/libvirt/libvirtd.conf --pid-file /run/libvirtd.pid";
const STOP_DAEMON = `pid=$(cat /run/libvirtd.pid); kill "$pid"; while kill -0 "$pid"; do sleep 0.01; done 2>/dev/null`;
const ENVIRONMENT = { LC_ALL: "C", PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" };
/** A path that the namespace does not hide and that needs no quotes in a shell. */
const USABLE_PATH = /^(?!\/(?:run|etc|var\/(?:lib|cache|log))\/)[\w./-]+$/;

export interface LibvirtHostOptions {
  /** Directory of what the host keeps: another host on it is the same after a reboot. Memory without it. */
  readonly state?: string;
  /**
   * Gives the host a network of its own in which this is its IPv4 address, once somebody connects it; its libvirtd
   * listens there as well, and lets everybody in.
   */
  readonly address?: string;
}

/** Needs root, and the packages libvirt-daemon, libvirt-daemon-driver-qemu, libvirt-clients, qemu-system-x86. */
export async function startLibvirtHost({ state, address }: LibvirtHostOptions = {}): Promise<LibvirtHost> {
  const name = join(tmpdir(), "luksmith-host-");
  if (!USABLE_PATH.test(name)) throw new Error(`TMPDIR must be a plain path that is not hidden: ${name}`);
  const dir = await mkdtemp(name);
  const { pid, end } = await startNamespace(dir, state, address);
  const host = new NamespacedHost(dir, pid, end, address === undefined ? "shared" : "own");
  try {
    await host.startDaemon();
    return host;
  } catch (thrown) {
    await host.stop();
    throw thrown;
  }
}

/** The namespace ends when `end` is called, and also when this process ends in any way: its standard input closes. */
async function startNamespace(
  dir: string,
  state = "",
  address = "",
): Promise<{ pid: number; end: () => Promise<void> }> {
  const net = address === "" ? "" : "--net";
  const unshare = `unshare --mount --pid --uts ${net} --fork --kill-child --propagation private`;
  const holder = execa(
    "sh",
    ["-c", `${unshare} sh "$1" "$2" "$3" "$4"; rm -rf -- "$2"`, "sh", NAMESPACE, dir, state, address],
    {
      env: ENVIRONMENT,
      extendEnv: false,
      // not in our process group, so that an interrupt of the terminal does not reach it before it has cleaned up
      detached: true,
      cleanup: false,
      reject: false,
      stdin: "pipe",
    },
  );
  const end = async () => {
    holder.ref();
    holder.stdin.end();
    await holder;
  };
  const said = await Promise.race([once(holder.stdout, "data"), holder]);
  if (!Array.isArray(said)) throw new Error(`cannot make a private libvirt host: ${said.stderr}`);
  // from now on the namespace keeps nobody from ending
  holder.unref();
  return { pid: Number(String(said[0])), end };
}

class NamespacedHost implements LibvirtHost {
  readonly root: string;
  readonly uri: string;
  readonly network: string;
  readonly #hookLog: string;

  constructor(
    readonly dir: string,
    private readonly pid: number,
    private readonly end: () => Promise<void>,
    private readonly net: "own" | "shared",
  ) {
    this.root = `/proc/${pid}/root`;
    this.uri = `qemu+unix:///system?socket=${this.root}/run/libvirt/libvirt-sock`;
    this.network = `/proc/${pid}/ns/net`;
    this.#hookLog = join(dir, "hooks.log");
  }

  async exec(
    argv: readonly string[],
    { input }: { readonly input?: string | Uint8Array } = {},
  ): Promise<ExecResult> {
    const target = ["--target", String(this.pid), "--mount", "--pid", "--uts"];
    if (this.net === "own") target.push("--net");
    const result = await execa("nsenter", [...target, "--", ...argv], {
      env: ENVIRONMENT,
      extendEnv: false,
      reject: false,
      stripFinalNewline: false,
      ...(input === undefined ? { stdin: "ignore" } : { input }),
    });
    return { exitCode: result.exitCode ?? -1, stdout: result.stdout, stderr: result.stderr };
  }

  async must(argv: readonly string[]): Promise<string> {
    const { exitCode, stdout, stderr } = await this.exec(argv);
    if (exitCode !== 0) throw new Error(`${argv.join(" ")}: exit code ${exitCode}: ${stderr}`);
    return stdout;
  }

  virsh(...args: readonly string[]): Promise<string> {
    return this.must(["virsh", "-q", "-c", "qemu:///system", ...args]);
  }

  async define(xml: string): Promise<void> {
    const file = join(this.dir, `${randomUUID()}.xml`);
    await writeFile(file, xml);
    await this.virsh("define", file);
    await rm(file);
  }

  async restartDaemon(): Promise<void> {
    await this.stopDaemon();
    await this.startDaemon();
    // asks each guest's QEMU, so it waits until libvirtd has reconnected to all of them
    await this.virsh("domstats", "--balloon");
  }

  async stopDaemon(): Promise<void> {
    await this.must(["sh", "-c", STOP_DAEMON]);
  }

  async startDaemon(): Promise<void> {
    await this.must(["sh", "-c", START_DAEMON]);
  }

  async reloadDaemon(): Promise<void> {
    await this.must(["sh", "-c", "kill -HUP $(cat /run/libvirtd.pid)"]);
  }

  async recordHooks(): Promise<void> {
    const hooks = join(this.root, "etc/libvirt/hooks");
    await mkdir(hooks, { recursive: true });
    await appendFile(this.#hookLog, "");
    // base64, because a guest's name may hold any character
    const record = `printf '%s %s %s\\n' "$(printf %s "$1" | base64 -w0)" "$2" "$3" >>${this.#hookLog}`;
    await writeFile(join(hooks, "qemu"), `#!/bin/sh\n${record}\n`, { mode: 0o755 });
  }

  async hookLog(): Promise<HookCall[]> {
    const lines = (await readFile(this.#hookLog, "utf8")).split("\n").slice(0, -1);
    return lines.map((line) => {
      const [guest = "", operation = "", subOperation = ""] = line.split(" ");
      return { guest: Buffer.from(guest, "base64").toString(), operation, subOperation };
    });
  }

  async secretsLeft(): Promise<string[]> {
    const list = await this.virsh("secret-list");
    return [...list.matchAll(/^\s*([0-9a-f-]{36})/gm)].map(([, uuid]) => uuid!);
  }

  stop(): Promise<void> {
    return this.end();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}
