import { execa } from "execa";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePorts } from "./free-ports.js";
import type { ExecResult } from "./libvirt-host.js";

/** Who a client is to the cluster: `--id` for Ceph's tools, the user for QEMU and libvirt. */
export interface CephUser {
  readonly id: string;
  /** Where a client that has the cluster's configuration finds the key by itself. */
  readonly keyring: string;
  /** In base64. */
  readonly key: string;
}

type Pids = Readonly<Record<"mon" | "osd", number>>;

/**
 * A Ceph cluster of its own: one monitor and one OSD that keeps its objects in memory, on loopback ports. There is no
 * manager, so nothing is counted: `ceph df` does not answer, and no pool reaches its quota.
 */
export interface CephCluster extends AsyncDisposable {
  /** Configuration, keyrings and logs, with room for files of a test; removed by `stop`. */
  readonly dir: string;
  /** The clients' configuration file. Their default user is `admin`, who may do everything. */
  readonly conf: string;
  /** For clients without a configuration file. */
  readonly monitor: { readonly host: string; readonly port: number };
  /** For signals: a daemon that hangs, or one that dies. */
  readonly pids: Pids;
  /** Runs a client with CEPH_CONF set, for 30 seconds at most; any exit code is an answer. */
  exec(argv: readonly string[], options?: { readonly input?: string | Uint8Array }): Promise<ExecResult>;
  /** Standard output of `rbd ARGS`. @throws if rbd fails, with its standard error */
  rbd(...args: readonly string[]): Promise<string>;
  /** Standard output of `ceph ARGS`. @throws as `rbd` */
  ceph(...args: readonly string[]): Promise<string>;
  /** Makes a pool for RBD images. The pool `rbd` exists from the start. */
  pool(name: string): Promise<void>;
  /** Makes a user; caps are such as `{ mon: "profile rbd", osd: "profile rbd pool=rbd" }`. */
  user(id: string, caps: Readonly<Record<string, string>>): Promise<CephUser>;
  /** Kills the daemons; the directory goes with them. Idempotent. */
  stop(): Promise<void>;
}

const DAEMONS = fileURLToPath(new URL("ceph-daemons.sh", import.meta.url));
const ENVIRONMENT = { LC_ALL: "C", PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" };
const HOST = "127.0.0.1";
const GIB = 1024 ** 3;

/** Needs root, and the packages ceph-common, ceph-mon, ceph-osd. */
export async function startCephCluster(): Promise<CephCluster> {
  const dir = await mkdtemp(join(tmpdir(), "luksmith-ceph-"));
  const fsid = randomUUID();
  const [v1 = 0, v2 = 0] = await freePorts(2);
  const addresses = `[v2:${HOST}:${v2},v1:${HOST}:${v1}]`;
  await writeFile(join(dir, "ceph.conf"), configuration(dir, fsid, addresses));
  const { pids, end } = await startDaemons([dir, fsid, addresses]);
  const cluster = new LocalCluster(dir, { host: HOST, port: v1 }, pids, end);
  try {
    // is answered as soon as the OSD serves
    await cluster.pool("rbd");
    return cluster;
  } catch (thrown) {
    throw new Error(`the Ceph cluster does not serve: ${await end()}`, { cause: thrown });
  }
}

function configuration(dir: string, fsid: string, addresses: string): string {
  return `[global]
fsid = ${fsid}
mon_host = ${addresses}
mon_initial_members = a
public_addr = ${HOST}
cluster_addr = ${HOST}
ms_bind_ipv6 = false
keyring = ${dir}/$name.keyring
run_dir = ${dir}
crash_dir = ${dir}
auth_allow_insecure_global_id_reclaim = false
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
[mon]
log_file = ${dir}/mon.log
mon_data = ${dir}/mon
keyring = ${dir}/mon..keyring
# otherwise each change of the cluster waits a second for others to join it
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
[osd]
log_file = ${dir}/osd.log
osd_data = ${dir}/osd
osd_class_dir = ${classDirectory()}
osd_objectstore = memstore
memstore_device_bytes = ${2 * GIB}
osd_numa_auto_affinity = false
`;
}

/** Debian's place for the OSD's part of RBD, which Ceph 18 does not know by itself. */
function classDirectory(): string {
  const places = readdirSync("/usr/lib").map((name) => join("/usr/lib", name, "rados-classes"));
  const found = places.find((place) => existsSync(place));
  if (found === undefined) throw new Error("no rados-classes in /usr/lib/*: the package ceph-osd is missing");
  return found;
}

/**
 * The daemons end when `end` is called, which returns what they said, and also when this process ends in any way:
 * the standard input of the shell that keeps them closes.
 */
async function startDaemons(args: readonly string[]): Promise<{ pids: Pids; end: () => Promise<string> }> {
  const holder = execa("sh", [DAEMONS, ...args], {
    env: ENVIRONMENT,
    extendEnv: false,
    // not in our process group, so that an interrupt of the terminal does not reach it before it has cleaned up
    detached: true,
    cleanup: false,
    reject: false,
    stdin: "pipe",
  });
  const end = async () => {
    holder.ref();
    holder.stdin.end();
    return (await holder).stderr;
  };
  const said = await Promise.race([once(holder.stdout, "data"), holder]);
  if (!Array.isArray(said)) throw new Error(`cannot start a Ceph cluster: ${said.stderr}`);
  // from now on the daemons keep nobody from ending
  holder.unref();
  const [mon, osd] = String(said[0]).trim().split(" ").map(Number);
  return { pids: { mon: mon!, osd: osd! }, end };
}

class LocalCluster implements CephCluster {
  readonly conf: string;

  constructor(
    readonly dir: string,
    readonly monitor: CephCluster["monitor"],
    readonly pids: Pids,
    private readonly end: () => Promise<string>,
  ) {
    this.conf = join(dir, "ceph.conf");
  }

  async exec(
    argv: readonly string[],
    { input }: { readonly input?: string | Uint8Array } = {},
  ): Promise<ExecResult> {
    // a client of a cluster that is no more would wait for it, also after our own death
    const result = await execa("timeout", ["--signal", "KILL", "30", ...argv], {
      env: { ...ENVIRONMENT, CEPH_CONF: this.conf },
      extendEnv: false,
      reject: false,
      stripFinalNewline: false,
      ...(input === undefined ? { stdin: "ignore" } : { input }),
    });
    return { exitCode: result.exitCode ?? -1, stdout: result.stdout, stderr: result.stderr };
  }

  rbd(...args: readonly string[]): Promise<string> {
    return this.must(["rbd", ...args]);
  }

  ceph(...args: readonly string[]): Promise<string> {
    return this.must(["ceph", ...args]);
  }

  async pool(name: string): Promise<void> {
    await this.ceph("osd", "pool", "create", name);
    await this.rbd("pool", "init", name);
  }

  async user(id: string, caps: Readonly<Record<string, string>>): Promise<CephUser> {
    const name = `client.${id}`;
    const keyring = join(this.dir, `${name}.keyring`);
    await this.ceph("auth", "add", name, ...Object.entries(caps).flat());
    await this.ceph("auth", "get", name, "-o", keyring);
    return { id, keyring, key: await this.ceph("auth", "print-key", name) };
  }

  private async must(argv: readonly string[]): Promise<string> {
    const { exitCode, stdout, stderr } = await this.exec(argv);
    if (exitCode !== 0) throw new Error(`${argv.join(" ")}: exit code ${exitCode}: ${stderr}`);
    return stdout;
  }

  async stop(): Promise<void> {
    await this.end();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}
