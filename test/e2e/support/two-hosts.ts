import { execa } from "execa";
import { randomUUID } from "node:crypto";
import { cp, mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { ADDRESSES, connect, type Network } from "../../lab/network.js";
import type { ExecResult } from "../../lab/libvirt-host.js";
import type { TestGuest } from "./guests.js";
import { LuksmithHost } from "./luksmith-host.js";

/** What `virsh migrate` is told unless a test is about it; without --unsafe it wants a network file system. */
export const MIGRATE = ["migrate", "--live", "--unsafe", "--persistent", "--undefinesource"] as const;

/** Two libvirt hosts with the plugin, a network between them, and volumes that both reach. */
export interface TwoHosts extends AsyncDisposable {
  readonly a: LuksmithHost;
  readonly b: LuksmithHost;
  /** Directory of the volumes of both, `images` of either: the same path and content inside and outside. */
  readonly shared: string;
  /** Directory that each host has for itself; another path outside: `host.inside(apart)`. */
  readonly apart: string;
  /** Connection URI of the host as the other one reaches it. */
  uri(host: LuksmithHost): string;
  /** `virsh migrate` in the host that the guest leaves, over the network; any exit code is an answer. */
  migrate(guest: TestGuest, from: LuksmithHost, to: LuksmithHost, ...flags: string[]): Promise<ExecResult>;
  /** The same over UNIX sockets, also for storage that is copied, by a virsh outside of both. */
  migrateBySockets(
    guest: TestGuest,
    from: LuksmithHost,
    to: LuksmithHost,
    ...flags: string[]
  ): Promise<ExecResult>;
  /** Copies the keystore of one host to the other, which is told of it in its settings, beside its own and `more`. */
  shareKeys(from?: LuksmithHost, more?: object): Promise<void>;
  cutNetwork(): Promise<void>;
  mendNetwork(): Promise<void>;
  /** Makes both hosts as new, as `LuksmithHost.reset` does, with an empty `shared` and `apart`. */
  reset(): Promise<void>;
}

/** Of virsh: a host that the network has lost is given up after 5 s. */
const IMPATIENT = ["--keepalive-interval", "1", "--keepalive-count", "4"];
const APART = "/var/lib/libvirt/images";
/** Where a host has the other one's keys. */
const FOREIGN_KEYS = "/var/lib/luksmith/keystore-of-the-other";

export async function startTwoHosts(): Promise<TwoHosts> {
  const hosts: LuksmithHost[] = [];
  try {
    const a = await LuksmithHost.start({ address: ADDRESSES[0] });
    hosts.push(a);
    const b = await LuksmithHost.start({ address: ADDRESSES[1], images: a.images });
    hosts.push(b);
    for (const host of hosts) await mkdir(host.inside(APART), { recursive: true });
    return new ConnectedHosts(a, b, await connect(a.libvirt, b.libvirt));
  } catch (thrown) {
    for (const host of hosts) await host[Symbol.asyncDispose]();
    throw thrown;
  }
}

class ConnectedHosts implements TwoHosts {
  readonly apart = APART;

  constructor(
    readonly a: LuksmithHost,
    readonly b: LuksmithHost,
    private readonly network: Network,
  ) {}

  get shared(): string {
    return this.a.images;
  }

  uri(host: LuksmithHost): string {
    return `qemu+tcp://${ADDRESSES[host === this.a ? 0 : 1]}/system`;
  }

  migrate(guest: TestGuest, from: LuksmithHost, to: LuksmithHost, ...flags: string[]): Promise<ExecResult> {
    const command = [...MIGRATE, ...flags, guest.uuid, this.uri(to)];
    return from.libvirt.exec(["virsh", ...IMPATIENT, "-c", "qemu:///system", ...command]);
  }

  async migrateBySockets(
    guest: TestGuest,
    from: LuksmithHost,
    to: LuksmithHost,
    ...flags: string[]
  ): Promise<ExecResult> {
    const socket = (name: string) => `unix://${join(to.libvirt.dir, `${randomUUID()}.${name}`)}`;
    const copies = flags.some((flag) => flag.startsWith("--copy-storage"));
    const ways = ["--migrateuri", socket("memory"), ...(copies ? ["--disks-uri", socket("disks")] : [])];
    const command = [...MIGRATE, ...ways, ...flags, guest.uuid, to.libvirt.uri];
    const { exitCode, stdout, stderr } = await execa("virsh", ["-c", from.libvirt.uri, ...command], {
      env: { LC_ALL: "C" },
      reject: false,
      stdin: "ignore",
    });
    return { exitCode: exitCode ?? -1, stdout, stderr };
  }

  async shareKeys(from = this.a, more: object = {}): Promise<void> {
    const to = from === this.a ? this.b : this.a;
    await cp(from.keystoreDirectory, to.inside(FOREIGN_KEYS), { recursive: true, force: true });
    const keystores = [
      { name: "local", type: "file" },
      { name: "other", type: "file", directory: FOREIGN_KEYS },
    ];
    await to.settings({ version: 1, keystores, ...more });
  }

  cutNetwork(): Promise<void> {
    return this.network.cut();
  }

  mendNetwork(): Promise<void> {
    return this.network.mend();
  }

  async reset(): Promise<void> {
    for (const host of [this.a, this.b]) {
      await host.reset();
      for (const name of await readdir(host.inside(APART)))
        await rm(join(host.inside(APART), name), { recursive: true });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // the volumes go with host a
    for (const host of [this.b, this.a]) await host[Symbol.asyncDispose]();
  }
}
